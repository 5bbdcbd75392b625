// Virtual machines of SEV-SNP as services of a session: over the real protocol, with reports of a test AMD.
#include <gtest/gtest.h>

#include "attestation/snp_test_support.h"
#include "cas/world_test_support.h"

namespace cloister::cas {
namespace {

using attestation::AttestClient;
using attestation::AttestRequest;
using testing::World;

std::string repeated(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}
const std::string kMeasurement = repeated("3e", 48), kAnother = repeated("3f", 48);

class CasMachines : public ::testing::Test {
 protected:
  void SetUp() override {
    CasOptions options = world_.options();
    options.evidence.snp_anchors.push_back(amd_.anchor());
    world_.start(options);
  }
  void create(const std::string& name, const std::string& factors, const std::string& tolerate) {
    std::string text = testing::session_text(name, {}, "SCONE_MODE: sim", tolerate);
    const std::string enclaves = "mrenclaves: [" + testing::measurement_hex('a') + "]";
    text.replace(text.find(enclaves), enclaves.size(), "attestation: [{" + factors + "}]");
    const auto created = world_.client(world_.owner).create_session(text);
    ASSERT_TRUE(created.ok()) << created.error().message();
  }
  AttestRequest evidence(const std::string& subject, const AttestClient& client, bool for_another) const {
    AttestRequest request;
    request.kind = attestation::EvidenceKind::SnpReport;
    request.subject = subject;
    request.host_arguments = {"one"};
    attestation::ReportData data = client.report_data(request).value();
    data[0] ^= for_another ? 1 : 0;
    request.quote = attestation::unsigned_snp_report(3, leaf_);
    std::copy(data.begin(), data.end(), request.quote.begin() + 0x50);
    amd_.sign(request.quote);
    const std::string chain = amd_.chain_pem();
    attestation::SnpPapers papers{amd_.leaf(leaf_), Bytes(chain.begin(), chain.end()), amd_.crl(false)};
    request.collateral = attestation::encode(papers);
    return request;
  }
  Result<boundary::EnclaveConfig> attest(const std::string& subject, bool for_another_connection = false) {
    attestation::AttestClientOptions options;
    options.address = world_.server->enclave_address();
    options.service_key = world_.server->key_hash();
    AttestClient client = TRY(AttestClient::connect(options, attestation::testing::make_identity("machine")));
    const attestation::Released released =
        TRY(client.attest(evidence(subject, client, for_another_connection)));
    return boundary::decode_config(released.configuration.expose());
  }
  std::string refusal(const std::string& subject, bool for_another_connection = false) {
    const auto config = attest(subject, for_another_connection);
    return config.ok() ? "accepted" : config.error().message();
  }
  std::string events(const std::string& name) {
    std::string out;
    Client client = world_.client(world_.owner);
    const auto events = client.events(name).value();
    for (const auto& event : events) out += event.kind + ": " + event.text + "\n";
    return out;
  }

  World world_;
  attestation::SnpTestPki amd_;
  attestation::SnpLeafRequest leaf_;
};

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST_F(CasMachines, AListedMachineGetsItsConfiguration) {
  create("s",
         "measurement: " + kMeasurement + ", minimum_tcb: {boot_loader: 7, tee: 1, snp: 22, microcode: 200}",
         "simulation-mode, hyperthreading");
  const auto config = attest("s/app");
  ASSERT_TRUE(config.ok()) << config.error().message();
  EXPECT_EQ(config->argv[0], "program");
  EXPECT_TRUE(has(events("s"), "attested: service app")) << events("s");
  EXPECT_TRUE(has(events("s"), "SEV-SNP measurement " + kMeasurement)) << events("s");
}

TEST_F(CasMachines, OneThatIsNotListedIsRefusedAndTheOwnerReadsWhy) {
  const std::string refused = "the CAS refuses: The program enclave is not trustworthy ";
  create("other", "measurement: " + kAnother, "simulation-mode, hyperthreading, outdated-tcb");
  EXPECT_EQ(refusal("other/app"), refused + "(measurement)");
  EXPECT_TRUE(has(events("other"), "measurement: " + kMeasurement + " - Expected " + kAnother));
  create("old",
         "measurement: " + kMeasurement + ", minimum_tcb: {boot_loader: 7, tee: 1, snp: 23, microcode: 200}",
         "simulation-mode, hyperthreading");
  EXPECT_EQ(refusal("old/app"), refused + "(tcb-status)");
  EXPECT_TRUE(
      has(events("old"), "(would be allowed by services: [{name: app, attestation: [{measurement: ["));
  create("strict", "measurement: " + kMeasurement, "outdated-tcb");
  EXPECT_EQ(refusal("strict/app"), refused + "(simulation-mode, hyperthreading)");
}

TEST_F(CasMachines, AReportOfAnotherConnectionIsRefused) {
  create("s", "measurement: " + kMeasurement, "simulation-mode, hyperthreading, outdated-tcb");
  EXPECT_TRUE(has(refusal("s/app", true), "another connection"));
  EXPECT_EQ(refusal("s/app"), "accepted");
}

}  // namespace
}  // namespace cloister::cas
