// Enclaves: measurement and signer in every part and both spellings, and the suggestions, which have to help
// when an owner takes them: each is put into the text of the session, which then holds.
#include <gtest/gtest.h>

#include "policy/check_test_support.h"

namespace cloister::policy {
namespace {

using attestation::Verdict;

const std::string kFive(64, '5'), kSix(64, '6'), kSigner(64, '7'), kOtherSigner(64, '8');
constexpr std::string_view kBegin = "services: [{name: app, ";

// `key`: what says which enclaves, as it stands in a suggestion.
std::string text_with(const std::string& key) {
  return "name: s\nversion: \"0.3\"\nservices: [{name: app, command: x, " + key + "}]\n";
}
Verdict enclave() {
  Verdict v;
  v.status = attestation::TcbStatus::UpToDate;
  v.smt_enabled = false;
  v.mrenclave.fill(0x55);
  v.mrsigner.fill(0x77);
  v.isv_prod_id = 3;
  v.isv_svn = 9;
  return v;
}
std::vector<Denial> denials(const std::string& key, const Verdict& verdict) {
  return denials_of(text_with(key), verdict);
}
std::string rules(const std::string& key, const Verdict& verdict) { return rules_of(denials(key, verdict)); }
// The key of the service in a suggestion.
std::string suggested_key(const Denial& denial) {
  const std::string& yaml = denial.suggestion;
  EXPECT_TRUE(yaml.starts_with(kBegin) && yaml.ends_with("}]")) << yaml;
  return yaml.substr(kBegin.size(), yaml.size() - kBegin.size() - 2);
}
std::string signer(const std::string& mrsigner, const std::string& numbers) {
  return "signer: {mrsigner: " + mrsigner + ", " + numbers + "}";
}
std::string variants(const std::string& list) { return "attestation: [" + list + "]"; }

// What the session says, the rules that refuse, and the key that the last of them suggests.
struct Row {
  std::string key, rules, suggestion;
};

void expect_helps(const Row& row, const Verdict& verdict) {
  const std::vector<Denial> found = denials(row.key, verdict);
  ASSERT_FALSE(found.empty()) << row.key;
  EXPECT_EQ(rules(row.key, verdict), row.rules) << row.key;
  for (size_t i = 0; i + 1 < found.size(); ++i) EXPECT_EQ(found[i].suggestion, "") << row.key;
  EXPECT_EQ(suggested_key(found.back()), row.suggestion) << row.key;
  EXPECT_EQ(rules(suggested_key(found.back()), verdict), "") << "taken as it is";
  // In the list, beside the session's own variants, it helps too.
  const std::string list = "attestation: [";
  if (!row.key.starts_with(list)) return;
  const std::string both = row.key.substr(0, row.key.size() - 1) + ", " + row.suggestion.substr(list.size());
  EXPECT_EQ(rules(both, verdict), "") << both;
}

const std::string kNumbers = "isvprodid: 3, isvsvn: 9", kMended = signer(kSigner, kNumbers);

TEST(CheckSgx, EverySuggestionOfAMeasurementHelpsInTheSpellingOfTheService) {
  const std::string right = "mrenclave: [" + kFive + "]", snp = "{measurement: " + std::string(96, '5') + "}";
  for (const Row& row : {
           Row{"mrenclaves: [" + kSix + "]", "mrenclave", "mrenclaves: [" + kFive + "]"},
           Row{variants("{mrenclave: " + kSix + "}"), "mrenclave", variants("{" + right + "}")},
           Row{variants("{mrenclave: [" + kSix + ", " + kSigner + "]}"), "mrenclave",
               variants("{" + right + "}")},
           Row{variants(snp), "mrenclave", variants("{" + right + "}")},
           Row{variants("{mrenclave: " + kSix + ", " + kMended + "}"), "mrenclave",
               variants("{" + right + ", " + kMended + "}")},
           // A signer that was named stays named, and is no other than it must be.
           Row{variants("{mrenclave: " + kSix + "}, {mrenclave: " + kSigner + ", " + kMended + "}"),
               "mrenclave", variants("{" + right + ", " + kMended + "}")},
           Row{variants("{mrenclave: " + kSix + ", " + signer(kOtherSigner, kNumbers) + "}"),
               "mrenclave signer", variants("{" + right + ", " + kMended + "}")},
       })
    expect_helps(row, enclave());
}

TEST(CheckSgx, EverySuggestionOfASignerHelpsInEachOfItsParts) {
  const std::pair<std::string, std::string> parts[] = {
      {signer(kOtherSigner, kNumbers), kMended},
      {signer(kSigner, "isvprodid: 4, isvsvn: 9"), kMended},
      {signer(kSigner, "isvprodid: 3, isvsvn: 10"), kMended},
      {signer(kSigner, "isvprodid: 3, isvsvn: 8"), kMended},
      {signer(kSigner, "isvprodid: 3, isvsvn_min: 10"), signer(kSigner, "isvprodid: 3, isvsvn_min: 9")},
      {signer(kSigner, "isvprodid: 3, isvsvn_min: 2, isvsvn_max: 8"),
       signer(kSigner, "isvprodid: 3, isvsvn_min: 2, isvsvn_max: 9")},
      {signer(kSigner, "isvprodid: 3, isvsvn_min: 10, isvsvn_max: 12"),
       signer(kSigner, "isvprodid: 3, isvsvn_min: 9, isvsvn_max: 12")},
      {signer(kOtherSigner, "isvprodid: 0, isvsvn_min: 10, isvsvn_max: 8"),
       signer(kSigner, "isvprodid: 3, isvsvn_min: 9, isvsvn_max: 9")},
  };
  const std::string measured = "mrenclave: [" + kFive + "], ";
  for (const auto& [wrong, right] : parts) {
    expect_helps({variants("{" + wrong + "}"), "signer", variants("{" + right + "}")}, enclave());
    expect_helps({variants("{mrenclave: [" + kSix + ", " + kFive + "], " + wrong + "}"), "signer",
                  variants("{" + measured + right + "}")},
                 enclave());
  }
}

TEST(CheckSgx, ASignerIsRefusedByAllVariantsAndTheNearestIsMended) {
  const std::string far = signer(kOtherSigner, "isvprodid: 1, isvsvn: 1"),
                    near = signer(kSigner, "isvprodid: 3, isvsvn_min: 10");
  for (const std::string& list : {"{" + far + "}, {" + near + "}", "{" + near + "}, {" + far + "}"}) {
    expect_helps(
        {variants(list), "signer", variants("{" + signer(kSigner, "isvprodid: 3, isvsvn_min: 9") + "}")},
        enclave());
    const std::string expected = denials(variants(list), enclave())[0].expected;
    for (const std::string& part :
         {"mrsigner " + kOtherSigner + ", isvprodid 1, isvsvn 1",
          "mrsigner " + kSigner + ", isvprodid 3, isvsvn_min 10", std::string(" or ")})
      EXPECT_NE(expected.find(part), std::string::npos) << expected;
  }
  EXPECT_EQ(rules(variants("{" + far + "}, {" + kMended + "}"), enclave()), "");
  EXPECT_EQ(rules(variants("{" + far + "}, {mrenclave: " + kFive + "}"), enclave()), "");
}

// A service cannot have `mrenclaves` and `attestation`: what is suggested for a machine keeps the enclaves.
TEST(CheckSgx, AMachinesSuggestionForAServiceOfEnclavesIsReadAndKeepsThem) {
  Verdict machine = enclave();
  machine.tee = attestation::Tee::Snp;
  machine.status = attestation::TcbStatus::Unrated;
  machine.snp.emplace().policy = 0x30000;
  Verdict td = enclave();
  td.tee = attestation::Tee::Tdx;
  td.td_attributes = 1u << 28;
  td.rtmrs.resize(4);
  const std::string own = "mrenclaves: [" + kFive + "]";
  for (const Verdict& verdict : {machine, td}) {
    const std::vector<Denial> found = denials(own, verdict);
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(rules(suggested_key(found[0]), verdict), "") << suggested_key(found[0]);
    EXPECT_EQ(rules(suggested_key(found[0]), enclave()), "") << "its enclaves are still those";
  }
}

}  // namespace
}  // namespace cloister::policy
