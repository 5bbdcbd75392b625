// One driver for every vector of quotes with collateral that nobody here made: bundles (signed by Intel),
// negatives (mutations of real ones), synth (same structures under a test PKI). Each must give exactly its
// expectation.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "attestation/json.h"
#include "attestation/tcb_json.h"
#include "attestation/vectors_test_support.h"
#include "base/files.h"

namespace cloister::attestation {
namespace {

namespace fs = std::filesystem;

struct Answer {
  std::string status;  // or "reject"
  std::string reason;
  std::set<std::string> advisories;
  Verdict verdict;
};

Result<Verdict> run(const fs::path& folder, const Json& expected, const VerifyOptions& options) {
  std::vector<TrustAnchor> anchors = {intel_sgx_root()};
  if (expected.contains("root") && expected["root"].is_string()) {
    const std::string root = text_of(folder / expected["root"].get<std::string>());
    const TrustAnchor anchor = TRY(anchor_from_certificate(as_bytes(root), true));
    anchors = {anchor};
  }
  const std::string time = expected["verification_time"].get<std::string>();
  const int64_t now = TRY(parse_rfc3339(time));
  const std::string bundle_text = text_of(folder / "collateral.json");
  const CollateralBundle bundle = TRY(parse_collateral_bundle(bundle_text));
  const auto collateral = TRY(trust_collateral(bundle, anchors));
  const std::string quote = text_of(folder / "quote.bin");
  return verify_quote(as_bytes(quote), *collateral, now, std::nullopt, options);
}

Answer answer(const fs::path& folder, const Json& expected, const VerifyOptions& options = {}) {
  auto verdict = run(folder, expected, options);
  Answer out;
  if (!verdict.ok()) {
    out.status = "reject";
    out.reason = verdict.error().message();
    return out;
  }
  out.status = tcb_status_name(verdict->status);
  out.advisories.insert(verdict->advisory_ids.begin(), verdict->advisory_ids.end());
  out.verdict = std::move(verdict).value();
  return out;
}

// What the notes of the vectors that leave the choice to the caller recommend, and what is documented here.
const std::map<std::string, std::string>& recommended() {
  static const std::map<std::string, std::string> table = {
      {"sgx_trailing_garbage", "reject"},  {"tdx_trailing_garbage", "reject"},
      {"sgx_chain_no_root", "reject"},     {"tdx_chain_no_root", "reject"},
      {"tdx5_chain_no_root", "reject"},    {"sgx_col_crls_swapped", "reject"},
      {"tdx5_col_crls_swapped", "reject"}, {"ext_naive_integer", "reject"},
      {"json_deep_nesting", "reject"},     {"json_dup_status", "reject"},
      {"qe_rd_upper_nonzero", "reject"},   {"tcb_levels_ascending", "UpToDate"},
  };
  return table;
}

std::string hex_le(uint64_t value) {
  uint8_t bytes[8];
  store_le(bytes, value);
  return to_hex(bytes);
}

// Every register of the body that a verdict has, as the expectation writes it: hex digits as they stand in
// the quote. What the body is not about is absent there, and must then be empty or zero here.
void check_registers(const Json& body, const Verdict& got) {
  ASSERT_TRUE(got.tee == Tee::Sgx || got.rtmrs.size() == 4);
  static constexpr ByteArray<48> kNone{};
  const auto rtmr = [&](size_t i) { return to_hex(got.rtmrs.empty() ? kNone : got.rtmrs[i]); };
  const std::pair<const char*, std::string> registers[] = {
      {"report_data", to_hex(got.report_data)},
      {"mrenclave", to_hex(got.mrenclave)},
      {"mrsigner", to_hex(got.mrsigner)},
      {"configid", to_hex(got.config_id)},
      {"attributes", hex_le(got.attributes) + hex_le(got.xfrm)},
      {"mrtd", to_hex(got.mrtd)},
      {"rtmr0", rtmr(0)},
      {"rtmr1", rtmr(1)},
      {"rtmr2", rtmr(2)},
      {"rtmr3", rtmr(3)},
      {"mrseam", to_hex(got.mr_seam)},
      {"mrsignerseam", to_hex(got.mr_signer_seam)},
      {"mrconfigid", to_hex(got.mr_config_id)},
      {"mrowner", to_hex(got.mr_owner)},
      {"mrownerconfig", to_hex(got.mr_owner_config)},
      {"mrservicetd", got.mr_service_td ? to_hex(*got.mr_service_td) : ""},
      {"tdattributes", hex_le(got.td_attributes)},
      {"xfam", hex_le(got.xfam)},
  };
  size_t compared = 0;
  for (const auto& [key, value] : registers) {
    if (body.contains(key)) {
      ++compared;
      EXPECT_EQ(value, body[key].get<std::string>()) << key;
    } else {
      EXPECT_EQ(value.find_first_not_of('0'), std::string::npos) << key;
    }
  }
  const size_t of_td = body.contains("mrservicetd") ? 14 : 13;
  EXPECT_EQ(compared, got.tee == Tee::Sgx ? 5 : of_td) << "a register has another name than in the table";
  const std::pair<const char*, int> numbers[] = {
      {"isvprodid", got.isv_prod_id}, {"isvsvn", got.isv_svn}, {"configsvn", got.config_svn}};
  for (const auto& [key, value] : numbers) EXPECT_EQ(value, body.value(key, 0)) << key;
  EXPECT_EQ(got.debug, body["debug"].get<bool>());
  EXPECT_EQ(got.mr_service_td.has_value(), body.contains("mrservicetd"));
}

void check_platform(const Json& expected, const Verdict& got) {
  const Json& pck = expected["pck"];
  std::string fmspc = pck["fmspc"].get<std::string>();
  std::transform(fmspc.begin(), fmspc.end(), fmspc.begin(), [](unsigned char c) { return std::tolower(c); });
  EXPECT_EQ(to_hex(got.fmspc), fmspc);
  EXPECT_EQ(got.ppid, pck["ppid"].get<std::string>());
  if (pck.value("smt_enabled", Json()).is_boolean()) {
    EXPECT_EQ(got.smt_enabled, pck["smt_enabled"].get<bool>());
    EXPECT_EQ(got.dynamic_platform, pck["dynamic_platform"].get<bool>());
    EXPECT_EQ(got.cached_keys, pck["cached_keys"].get<bool>());
  }
  EXPECT_EQ(got.quote_version, expected["quote"]["version"].get<int>());
  if (expected.value("tcb_date", Json()).is_string()) {
    EXPECT_EQ(format_rfc3339(got.tcb_date), expected["tcb_date"].get<std::string>());
  }
}

void check_identity(const Json& expected, const Answer& got) {
  if (!expected.contains("quote") || !expected["quote"].is_object() || got.status == "reject") return;
  check_registers(expected["quote"]["body"], got.verdict);
  check_platform(expected, got.verdict);
}

void check_vector(const fs::path& folder, std::map<std::string, int>& counts) {
  const std::string text = text_of(folder / "expected.json");
  const Json expected = Json::parse(text, nullptr, false);
  ASSERT_TRUE(expected.is_object()) << folder;
  SCOPED_TRACE(folder.filename().string());
  std::string want = expected["expect"].get<std::string>();
  VerifyOptions options;
  if (expected.value("crl_missing", Json()).is_boolean() && expected["crl_missing"].get<bool>()) {
    EXPECT_EQ(answer(folder, expected).status, "reject") << "missing revocation lists must fail closed";
    options.accept_missing_crls = true;
  }
  const Answer got = answer(folder, expected, options);
  ++counts[want];
  if (want == "policy") {
    const auto found = recommended().find(folder.filename().string());
    if (found == recommended().end()) {
      EXPECT_NE(got.status, "reject") << got.reason;
    } else {
      EXPECT_EQ(got.status, found->second) << got.reason;
    }
    return;
  }
  EXPECT_EQ(got.status, want) << got.reason;
  if (expected.contains("advisory_ids") && got.status != "reject" && want != "reject") {
    std::set<std::string> ids;
    for (const Json& id : expected["advisory_ids"]) ids.insert(id.get<std::string>());
    EXPECT_EQ(got.advisories, ids);
  }
  check_identity(expected, got);
}

class Vectors : public ::testing::TestWithParam<const char*> {};

TEST_P(Vectors, GiveExactlyTheirExpectation) {
  const fs::path folder = vectors_folder() / GetParam();
  if (!fs::is_directory(folder)) GTEST_SKIP() << absent(folder);
  std::map<std::string, int> counts;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory()) check_vector(entry.path(), counts);
  }
  EXPECT_GT(print_counts(GetParam(), counts), 0);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Vectors, ::testing::Values("bundles", "negatives", "synth"),
                         [](const auto& kind) { return std::string(kind.param); });

}  // namespace
}  // namespace cloister::attestation
