// Virtual machines as services of a session: over the real protocol, with SEV-SNP reports of a test AMD and
// TDX quotes of a test Intel.
#include <gtest/gtest.h>

#include <functional>

#include "attestation/snp_test_support.h"
#include "attestation/tdx_test_support.h"
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
    options.evidence.anchors.push_back(intel_.anchor());
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
    if (change_report_) change_report_(request.quote);
    std::copy(data.begin(), data.end(), request.quote.begin() + 0x50);
    amd_.sign(request.quote);
    const std::string chain = amd_.chain_pem();
    attestation::SnpPapers papers{amd_.leaf(leaf_), Bytes(chain.begin(), chain.end()), amd_.crl(false)};
    request.collateral = attestation::encode(papers);
    return request;
  }
  AttestRequest tdx_evidence(const std::string& subject, const AttestClient& client, bool for_another) {
    AttestRequest request;
    request.kind = attestation::EvidenceKind::TdxQuote;
    request.subject = subject;
    request.host_arguments = {"one"};
    td_.report_data = client.report_data(request).value();
    td_.report_data[0] ^= for_another ? 1 : 0;
    request.quote = intel_.quote(td_);
    const std::string bundle =
        attestation::collateral_bundle_json(intel_.collateral(std::time(nullptr), tcb_));
    request.collateral.assign(bundle.begin(), bundle.end());
    return request;
  }
  Result<AttestClient> connect() {
    attestation::AttestClientOptions options;
    options.address = world_.server->enclave_address();
    options.service_key = world_.server->key_hash();
    return AttestClient::connect(options, attestation::testing::make_identity("machine"));
  }
  Result<boundary::EnclaveConfig> attest(const std::string& subject, bool for_another_connection = false) {
    AttestClient client = TRY(connect());
    const attestation::Released released =
        TRY(client.attest(tdx_ ? tdx_evidence(subject, client, for_another_connection)
                               : evidence(subject, client, for_another_connection)));
    return boundary::decode_config(released.configuration.expose());
  }
  std::string refusal(const std::string& subject, bool for_another_connection = false) {
    const auto config = attest(subject, for_another_connection);
    return config.ok() ? "accepted" : config.error().message();
  }
  // The variant after "would be allowed by" in the newest event.
  std::string suggestion(const std::string& session) {
    const std::string all = events(session), begin = "attestation: [{", end = "}]}])";
    const size_t at = all.rfind(begin) + begin.size();
    return all.substr(at, all.find(end, at) - at);
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
  std::function<void(Bytes&)> change_report_;  // before it is signed
  attestation::TdxTestPki intel_;
  attestation::TestTd td_;
  attestation::TestTcb tcb_;
  bool tdx_ = false;  // which of the two asks
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

// Where each stands in a report: AMD's ATTESTATION_REPORT.
TEST_F(CasMachines, EachFactorRefusesAloneAndItsDenialsYamlHelps) {
  change_report_ = [](Bytes& report) {
    store_le<uint64_t>(report.data() + 0x08, 0x10003001f);
    report[0x48] |= 1;  // AUTHOR_KEY_EN
    std::fill_n(report.begin() + 0xc0, 32, uint8_t{0xc0});
    std::fill_n(report.begin() + 0xe0, 48, uint8_t{0xe0});
    std::fill_n(report.begin() + 0x110, 48, uint8_t{0x11});
  };
  const std::string tolerate = "simulation-mode, hyperthreading, outdated-tcb";
  const std::tuple<const char*, const char*, std::string, std::string> factors[] = {
      {"host_data", "host-data", repeated("c0", 32), repeated("c1", 32)},
      {"id_key_digest", "id-key-digest", repeated("e0", 48), repeated("e1", 48)},
      {"author_key_digest", "author-key-digest", repeated("11", 48), repeated("12", 48)},
      {"guest_policy", "guest-policy", "000000010003001f", "000000000003001f"}};
  for (const auto& [key, rule, right, wrong] : factors) {
    const std::string start = "measurement: " + kMeasurement + ", " + key + ": ", name = rule;
    create("right-" + name, start + right, tolerate);
    EXPECT_EQ(refusal("right-" + name + "/app"), "accepted") << key;
    create(name, start + wrong, tolerate);
    EXPECT_EQ(refusal(name + "/app"),
              "the CAS refuses: The program enclave is not trustworthy (" + name + ")");
    EXPECT_TRUE(has(events(name), name + ": " + right + " - Expected " + wrong)) << events(name);
    create("helped-" + name, suggestion(name), tolerate);
    EXPECT_EQ(refusal("helped-" + name + "/app"), "accepted") << suggestion(name);
  }
}

TEST_F(CasMachines, AReportThatNoFirmwareMakesIsRefusedWhateverIsTolerated) {
  create("s", "measurement: " + kMeasurement,
         "simulation-mode, hyperthreading, outdated-tcb, insecure-configuration, debug-mode");
  const std::string refused = "the CAS refuses: The program enclave is not trustworthy ";
  change_report_ = [](Bytes& report) { store_le<uint64_t>(report.data() + 0x08, 0x10000); };
  EXPECT_EQ(refusal("s/app"), refused + "(guest-policy)");
  change_report_ = [](Bytes& report) { --report[0x1e0]; };  // COMMITTED_TCB: the boot loader
  EXPECT_EQ(refusal("s/app"), refused + "(tcb-order)");
  EXPECT_FALSE(has(events("s"), "would be allowed"));
  change_report_ = nullptr;
  EXPECT_EQ(refusal("s/app"), "accepted");
}

// Each with all it can be refused for; what would allow them all may be more than an event holds.
TEST_F(CasMachines, ManyReasonsCutNoEvent) {
  change_report_ = [](Bytes& report) {
    store_le<uint64_t>(report.data() + 0x08, 0xd0000);
    report[0x30] = 3;
    --report[0x1e0];
  };
  const auto list = [](const char* key, int size) {
    std::string out = std::string(key) + ": [";
    for (int i = 0; i < 20; ++i) out += (i == 0 ? "" : ", ") + repeated("77", size);
    return out + "], ";
  };
  create("s",
         list("measurement", 48) + list("host_data", 32) + list("id_key_digest", 48) +
             list("author_key_digest", 48) +
             "minimum_tcb: {boot_loader: 255, tee: 255, snp: 255, microcode: 255}, guest_policy: "
             "\"000000000003001f\"",
         "");
  EXPECT_NE(refusal("s/app"), "accepted");
  const std::string read = events("s");
  for (const char* rule : {"measurement: ", "host-data: ", "id-key-digest: ", "author-key-digest: ", "vmpl: ",
                           "tcb-status: ", "tcb-order: ", "guest-policy: ", "debug-mode: ", "migration: ",
                           "simulation-mode: ", "hyperthreading: "})
    EXPECT_TRUE(has(read, rule)) << rule << read;
  EXPECT_FALSE(has(read, "[cut]")) << read;
}

TEST_F(CasMachines, AReportOfAnotherConnectionIsRefused) {
  create("s", "measurement: " + kMeasurement, "simulation-mode, hyperthreading, outdated-tcb");
  EXPECT_TRUE(has(refusal("s/app", true), "another connection"));
  EXPECT_EQ(refusal("s/app"), "accepted");
}

// --- TDX

std::string factor(const char* name, const std::string& byte) {
  return std::string(name) + ": " + repeated(byte, 48);
}
const std::string kRefused = "the CAS refuses: The program enclave is not trustworthy ";

class CasTdxMachines : public CasMachines {
 protected:
  void SetUp() override {
    CasMachines::SetUp();
    tdx_ = true;
  }
  void expect_owner_reads(const std::string& session, const std::string& text) {
    EXPECT_TRUE(has(events(session), text)) << events(session);
  }
};

TEST_F(CasTdxMachines, AListedMachineGetsItsConfigurationWithBothVersionsOfQuotes) {
  create("s",
         factor("mrtd", "10") + ", " + factor("rtmr0", "a0") + ", " + factor("rtmr1", "a1") + ", " +
             factor("rtmr2", "a2") + ", " + factor("rtmr3", "a3") + ", " + factor("mrseam", "5e") + ", " +
             factor("mrsignerseam", "00") + ", " + factor("mrconfigid", "c0") + ", " +
             factor("mrowner", "c1") + ", " + factor("mrownerconfig", "c2") +
             ", td_attributes: \"0000000010000000\"",
         "simulation-mode, hyperthreading");
  const auto config = attest("s/app");
  ASSERT_TRUE(config.ok()) << config.error().message();
  EXPECT_EQ(config->argv[0], "program");
  expect_owner_reads("s", "TDX MRTD " + repeated("10", 48) + ", RTMR0 " + repeated("a0", 48));
  expect_owner_reads("s", "RTMR3 " + repeated("a3", 48) + ", TCB UpToDate, simulated");
  td_.version = 5;
  td_.body_type = 3;
  create("newer", factor("mrtd", "10") + ", " + factor("mrservicetd", "00"),
         "simulation-mode, hyperthreading");
  EXPECT_EQ(refusal("newer/app"), "accepted");
}

TEST_F(CasTdxMachines, EachFactorRefusesAloneAndItsDenialsYamlHelps) {
  const std::pair<const char*, const char*> others[] = {
      {"mrtd", "11"},    {"rtmr0", "00"},         {"rtmr1", "00"},        {"rtmr2", "00"},
      {"rtmr3", "00"},   {"mrseam", "00"},        {"mrsignerseam", "01"}, {"mrconfigid", "00"},
      {"mrowner", "00"}, {"mrownerconfig", "00"}, {"mrservicetd", "00"}};
  td_.version = 5;
  td_.body_type = 3;
  td_.registers[10] = 0x77;
  for (const auto& [name, byte] : others) {
    const std::string session = std::string("other-") + name;
    const std::string mrtd = name == std::string("mrtd") ? "" : factor("mrtd", "10") + ", ";
    create(session, mrtd + factor(name, byte), "simulation-mode, hyperthreading");
    EXPECT_EQ(refusal(session + "/app"), kRefused + "(" + name + ")");
    expect_owner_reads(session, std::string(name) + ": ");
    expect_owner_reads(session, " - Expected " + repeated(byte, 48));
    create("helped-" + session, suggestion(session), "simulation-mode, hyperthreading");
    EXPECT_EQ(refusal("helped-" + session + "/app"), "accepted") << suggestion(session);
  }
}

// Each with all it can be refused for; what would allow them all is more than an event holds.
TEST_F(CasTdxMachines, ManyReasonsCutNoEvent) {
  td_.version = 5;
  td_.body_type = 3;
  td_.registers.fill(0x10);
  td_.registers[6] = 0;  // MRSIGNERSEAM is Intel's
  td_.td_attributes = 1u << 28 | 1u << 29 | 1;
  tcb_.platform = {{7, attestation::TcbStatus::UpToDate, {}},
                   {6, attestation::TcbStatus::OutOfDateConfigurationNeeded, {"INTEL-SA-00828"}}};
  std::string registers, lists;
  for (const std::string_view name : policy::kTdxRegisters) {
    const std::string begin = (registers.empty() ? "" : ", ") + std::string(name) + ": ";
    registers += begin + repeated("11", 48);
    lists += begin + "[";
    for (int i = 0; i < 20; ++i) lists += (i == 0 ? "" : ", ") + repeated("11", 48);
    lists += "]";
  }
  const std::string attributes = ", td_attributes: \"0000000010000000\"";
  for (const auto& [name, factors] : std::vector<std::pair<std::string, std::string>>{
           {"one", registers}, {"named", registers + attributes}, {"lists", lists + attributes}}) {
    create(name, factors, "simulation-mode");
    EXPECT_NE(refusal(name + "/app"), "accepted");
    const std::string read = events(name);
    for (const std::string_view rule : policy::kTdxRegisters)
      EXPECT_TRUE(has(read, std::string(rule) + ": ")) << rule << read;
    const std::string mended = "mrservicetd: [" + repeated("10", 48) + "]";
    EXPECT_TRUE(has(read, mended)) << "what would allow it: " << read;
    EXPECT_EQ(has(read, mended + ", td_attributes: \"0000000030000001\""), name != "one")
        << "the last one, which mends all: " << read;
    for (const char* rule : {"tcb-status: ", "debug-mode: ", "advisories: ", "hyperthreading: "})
      EXPECT_TRUE(has(read, rule)) << rule << read;
    EXPECT_FALSE(has(read, "[cut]")) << read;
  }
}

TEST_F(CasTdxMachines, ThePlatformsStatusNeedsItsTolerationsAndAdvisories) {
  const std::string machine = factor("mrtd", "10");
  create("plain", machine, "simulation-mode, hyperthreading");
  create("outdated", machine, "simulation-mode, hyperthreading, outdated-tcb");
  create("ignoring", machine,
         "simulation-mode, hyperthreading, outdated-tcb], ignore_advisories: [INTEL-SA-00828");
  tcb_.platform = {{7, attestation::TcbStatus::UpToDate, {}},
                   {6, attestation::TcbStatus::OutOfDate, {"INTEL-SA-00828"}}};
  EXPECT_EQ(refusal("plain/app"), kRefused + "(tcb-status, advisories)");
  expect_owner_reads("plain", "tcb-status: OutOfDate - Expected UpToDate");
  EXPECT_EQ(refusal("outdated/app"), kRefused + "(advisories)");
  td_.version = 5;
  td_.body_type = 3;
  td_.platform_svn_now = 7;
  EXPECT_EQ(refusal("plain/app"), kRefused + "(tcb-status, advisories)");
  expect_owner_reads("plain",
                     "tcb-status: TDRelaunchAdvised - Expected UpToDate (would be allowed by security: "
                     "{attestation: {tolerate: [outdated-tcb]}})");
  EXPECT_EQ(refusal("ignoring/app"), "accepted");
  create("last", machine, "simulation-mode, hyperthreading, outdated-tcb");
  tcb_.platform = {{6, attestation::TcbStatus::Revoked, {}}};
  EXPECT_EQ(refusal("last/app"), kRefused + "(tcb-status)");
}

TEST_F(CasTdxMachines, ADebugOrMovableMachineIsRefused) {
  const std::string machine = factor("mrtd", "10");
  create("s", machine, "simulation-mode, hyperthreading");
  td_.td_attributes |= 1;
  EXPECT_EQ(refusal("s/app"), kRefused + "(debug-mode)");
  td_.td_attributes = 1u << 28 | 1u << 29;
  EXPECT_EQ(refusal("s/app"), kRefused + "(migration)");
  td_.td_attributes = 0;
  EXPECT_EQ(refusal("s/app"), kRefused + "(td-attributes)");
  td_.td_attributes = 1u << 28;
  EXPECT_EQ(refusal("s/app"), "accepted");
}

TEST_F(CasTdxMachines, AQuoteOfAnotherConnectionOrUnderAnotherNameIsRefused) {
  create("s", factor("mrtd", "10"), "simulation-mode, hyperthreading");
  EXPECT_TRUE(has(refusal("s/app", true), "another connection"));
  AttestClient client = connect().value();
  AttestRequest request = tdx_evidence("s/app", client, false);
  request.kind = attestation::EvidenceKind::SgxDcapQuote;
  const auto released = client.attest(request);
  ASSERT_FALSE(released.ok());
  EXPECT_TRUE(has(released.error().message(), "the evidence is not accepted")) << released.error().message();
  expect_owner_reads("s", "evidence invalid: the quote is of another TEE than the request says");
  EXPECT_EQ(refusal("s/app"), "accepted");
}

TEST_F(CasTdxMachines, AnEnclavesSessionIsNoMachines) {
  const auto created = world_.client(world_.owner).create_session(testing::session_text("s"));
  ASSERT_TRUE(created.ok());
  EXPECT_EQ(refusal("s/app"), kRefused + "(mrtd)");
  expect_owner_reads("s", "mrtd: " + repeated("10", 48) + " - Expected no TDX machine");
}

}  // namespace
}  // namespace cloister::cas
