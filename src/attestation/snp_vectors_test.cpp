// One driver for every vector of SEV-SNP reports that nobody here made: snp (signed by AMD, and mutations),
// snp_synth (same structures under a test PKI, whose root is pinned by `ark_pin`).
#include <gtest/gtest.h>

#include "attestation/amd_x509.h"
#include "attestation/json.h"
#include "attestation/tcb_json.h"
#include "attestation/vectors_test_support.h"
#include "attestation/verify_snp.h"

namespace cloister::attestation {
namespace {

namespace fs = std::filesystem;

// For vectors without a time of their own: inside the life of every certificate of the real ones.
constexpr std::string_view kUsualTime = "2025-06-11T10:14:21Z";

Result<std::vector<SnpAnchor>> anchors_for(const Json& expected) {
  if (!expected.contains("ark_pin")) return amd_roots();
  const std::string pin = TRY(json_string(expected, "ark_pin"));
  const ByteArray<32> digest = TRY(array_from_hex<32>(pin));
  std::vector<SnpAnchor> out;
  for (const char* line : {"Milan", "Genoa", "Turin"}) out.push_back({line, digest, true});
  return out;
}

Result<Verdict> run(const fs::path& folder, const Json& expected, bool accept_missing_crl) {
  const std::vector<SnpAnchor> anchors = TRY(anchors_for(expected));
  const int64_t now = TRY(parse_rfc3339(expected.value("verification_time", std::string(kUsualTime))));
  const std::string report = text_of(folder / "report.bin"), leaf = text_of(folder / "leaf.der"),
                    chain = text_of(folder / "cert_chain.pem"), crl = text_of(folder / "crl.der");
  VerifyOptions options;
  options.accept_missing_crls = accept_missing_crl;
  return verify_snp({as_bytes(report), as_bytes(leaf), as_bytes(chain), as_bytes(crl)}, anchors, now,
                    std::nullopt, options);
}

void expect_tcb(const Json& expected, const SnpTcb& got) {
  EXPECT_EQ(got.boot_loader, expected["bl"].get<int>());
  EXPECT_EQ(got.tee, expected["tee"].get<int>());
  EXPECT_EQ(got.snp, expected["snp"].get<int>());
  EXPECT_EQ(got.microcode, expected["ucode"].get<int>());
}

void check_facts(const Json& report, const Verdict& got) {
  const SnpFacts& facts = *got.snp;
  EXPECT_EQ(got.quote_version, report["version"].get<int>());
  EXPECT_EQ(got.debug, report["debug"].get<bool>());
  EXPECT_EQ(facts.migration_agent, report["migrate_ma"].get<bool>());
  EXPECT_EQ(facts.vmpl, report["vmpl"].get<uint32_t>());
  EXPECT_EQ(facts.guest_svn, report["guest_svn"].get<uint32_t>());
  EXPECT_EQ(facts.policy, std::stoull(report["policy"].get<std::string>(), nullptr, 16));
  EXPECT_EQ(facts.platform_info, std::stoull(report["platform_info"].get<std::string>(), nullptr, 16));
  EXPECT_EQ(to_hex(got.report_data), report["report_data"].get<std::string>());
  const std::pair<const char*, ByteView> bytes[] = {
      {"measurement", facts.measurement},
      {"host_data", facts.host_data},
      {"id_key_digest", facts.id_key_digest},
      {"author_key_digest", facts.author_key_digest},
      {"report_id", facts.report_id},
      {"report_id_ma", facts.report_id_ma},
      {"chip_id", facts.chip_id},
      {"family_id", facts.family_id},
      {"image_id", facts.image_id},
  };
  for (const auto& [key, value] : bytes) EXPECT_EQ(to_hex(value), report[key].get<std::string>()) << key;
  expect_tcb(report["current_tcb"], facts.current_tcb);
  expect_tcb(report["reported_tcb"], facts.reported_tcb);
  expect_tcb(report["committed_tcb"], facts.committed_tcb);
  expect_tcb(report["launch_tcb"], facts.launch_tcb);
  EXPECT_EQ(facts.current_firmware.major, report["current_fw"][0].get<int>());
  EXPECT_EQ(facts.current_firmware.minor, report["current_fw"][1].get<int>());
  EXPECT_EQ(facts.current_firmware.build, report["current_fw"][2].get<int>());
}

// Vectors that leave the decision to the caller must show what it has to decide about.
void check_policy_fact(const std::string& name, const Verdict& got) {
  if (name == "debug_policy") {
    EXPECT_TRUE(got.debug);
  }
  if (name == "migrate_ma") {
    EXPECT_TRUE(got.snp->migration_agent);
  }
  if (name == "policy_bit17_zero") {
    EXPECT_EQ(got.snp->policy >> 17 & 1, 0u);
  }
  if (name == "vmpl_2") {
    EXPECT_EQ(got.snp->vmpl, 2u);
  }
  if (name == "vmpl_host") {
    EXPECT_EQ(got.snp->vmpl, 0xffffffffu);
  }
}

void check_vector(const fs::path& folder, std::map<std::string, int>& counts) {
  const Json expected = Json::parse(text_of(folder / "expected.json"), nullptr, false);
  ASSERT_TRUE(expected.is_object()) << folder;
  const std::string name = folder.filename().string();
  SCOPED_TRACE(name);
  const std::string want = expected["expect"].get<std::string>();
  ++counts[want];
  const auto got = run(folder, expected, true);
  if (want == "reject") {
    ASSERT_FALSE(got.ok());
    if (!expected.contains("verification_time")) {
      EXPECT_FALSE(got.error().message().starts_with("time")) << got.error().message();
    }
    return;
  }
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(got->tee, Tee::Snp);
  EXPECT_EQ(got->simulated, expected.contains("ark_pin"));
  const bool listed = fs::exists(folder / "crl.der");
  EXPECT_EQ(got->revocation_checked, listed);
  if (!listed) {
    EXPECT_FALSE(run(folder, expected, false).ok()) << "a missing list must fail closed";
  }
  if (want == "policy") check_policy_fact(name, *got);
  if (expected.contains("report")) check_facts(expected["report"], *got);
}

class SnpVectors : public ::testing::TestWithParam<const char*> {};

TEST_P(SnpVectors, GiveExactlyTheirExpectation) {
  const fs::path folder = vectors_folder() / GetParam();
  if (!fs::is_directory(folder)) GTEST_SKIP() << absent(folder);
  std::map<std::string, int> counts;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (fs::exists(entry.path() / "expected.json")) check_vector(entry.path(), counts);
  }
  EXPECT_GT(print_counts(GetParam(), counts), 0);
}

INSTANTIATE_TEST_SUITE_P(Kinds, SnpVectors, ::testing::Values("snp", "snp_synth"),
                         [](const auto& kind) { return std::string(kind.param); });

// A real certificate chain of Turin without a report: the root is pinned, the leaf decodes.
TEST(SnpVectors, TurinsCertificatesDecode) {
  const fs::path folder = vectors_folder() / "snp" / "turin_vcek_chain_only";
  if (!fs::is_directory(folder)) GTEST_SKIP() << absent(folder);
  const std::string leaf_bytes = text_of(folder / "leaf.der"),
                    chain_bytes = text_of(folder / "cert_chain.pem");
  const auto leaf = amd_certificates(as_bytes(leaf_bytes));
  const auto chain = amd_certificates(as_bytes(chain_bytes));
  ASSERT_TRUE(leaf.ok() && chain.ok());
  ASSERT_EQ(chain->size(), 2u);
  EXPECT_EQ((*chain)[1].spki_sha256(), amd_roots()[2].spki_sha256);
  EXPECT_TRUE((*chain)[0].signed_by((*chain)[1]));
  EXPECT_TRUE(leaf->front().signed_by((*chain)[0]));
  const auto fields = amd_leaf_fields(leaf->front());
  ASSERT_TRUE(fields.ok()) << fields.error().message();
  EXPECT_EQ(fields->hwid.size(), 8u);
  EXPECT_TRUE(fields->fmc.has_value());
}

}  // namespace
}  // namespace cloister::attestation
