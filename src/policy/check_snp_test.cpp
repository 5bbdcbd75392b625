// SEV-SNP machines: every factor alone, the order of firmware numbers, the guest's policy, and the
// suggestions, which have to help when an owner takes them.
#include <gtest/gtest.h>

#include "policy/check_test_support.h"

namespace cloister::policy {
namespace {

using attestation::Verdict;

std::string digits(char digit, size_t count = 96) { return std::string(count, digit); }

constexpr uint64_t kPolicy = 0x3001f;
Verdict machine() {
  Verdict v;
  v.tee = attestation::Tee::Snp;
  v.status = attestation::TcbStatus::Unrated;
  v.smt_enabled = false;
  attestation::SnpFacts& facts = v.snp.emplace();
  facts.policy = kPolicy;
  facts.measurement.fill(0x11);
  facts.host_data.fill(0x22);
  facts.id_key_digest.fill(0x33);
  facts.author_key_digest.fill(0x44);
  facts.author_key_enabled = true;
  facts.current_tcb = facts.reported_tcb = facts.committed_tcb = facts.launch_tcb = {0, 7, 1, 22, 200};
  return v;
}

std::vector<Denial> denials(const std::string& variants, const Verdict& verdict,
                            const std::string& tolerate = "outdated-tcb") {
  return denials_of(session_text(variants, tolerate), verdict);
}
std::string rules(const std::string& variants, const Verdict& verdict,
                  const std::string& tolerate = "outdated-tcb") {
  return rules_of(denials(variants, verdict, tolerate));
}

struct Factor {
  const char *key, *rule;
  std::string right, wrong;
  bool one;  // no list
};
const Factor kFactors[] = {
    {"measurement", "measurement", digits('1'), digits('9'), false},
    {"host_data", "host-data", digits('2', 64), digits('9', 64), false},
    {"id_key_digest", "id-key-digest", digits('3'), digits('9'), false},
    {"author_key_digest", "author-key-digest", digits('4'), digits('9'), false},
    {"guest_policy", "guest-policy", "\"000000000003001f\"", "\"000000000003001e\"", true},
};
const std::string kMachine = "measurement: " + digits('1');

std::string variant(const char* changed, const std::string& value) {
  std::string out;
  for (const Factor& factor : kFactors) {
    const bool other = factor.key == std::string_view(changed);
    out += (out.empty() ? "{" : ", ") + std::string(factor.key) + ": " + (other ? value : factor.right);
  }
  return out + "}";
}

TEST(CheckSnp, EveryFactorIsComparedWithItsOwnKey) {
  EXPECT_EQ(rules(variant("", ""), machine()), "");
  for (const Factor& factor : kFactors) {
    const auto found = denials(variant(factor.key, factor.wrong), machine());
    ASSERT_EQ(found.size(), 1u) << factor.key;
    EXPECT_EQ(found[0].rule, factor.rule);
    const auto bare = [](std::string text) { return text.starts_with('"') ? text.substr(1, 16) : text; };
    EXPECT_EQ(found[0].expected, bare(factor.wrong));
    EXPECT_EQ(found[0].actual, bare(factor.right));
    EXPECT_EQ(rules(suggested(found[0]), machine()), "") << "taken as it is";
    // What the session named besides stays named.
    for (const Factor& other : kFactors)
      EXPECT_NE(found[0].suggestion.find(std::string(other.key) + ": "), std::string::npos) << other.key;
    if (factor.one) continue;
    const std::string list = "[" + factor.wrong + ", " + factor.right + "]";
    EXPECT_EQ(rules(variant(factor.key, list), machine()), "") << "one of a list";
    const std::string wrong = "[" + factor.wrong + ", " + factor.wrong + "]";
    EXPECT_EQ(rules(variant(factor.key, wrong), machine()), factor.rule);
  }
}

TEST(CheckSnp, AFactorThatIsNotNamedIsNone) {
  EXPECT_EQ(rules("{" + kMachine + "}", machine()), "");
  for (const Factor& factor : kFactors) {
    if (factor.rule == std::string_view("measurement")) continue;
    EXPECT_EQ(rules("{" + kMachine + ", " + factor.key + ": " + factor.right + "}", machine()), "");
    EXPECT_EQ(rules("{" + kMachine + ", " + factor.key + ": " + factor.wrong + "}", machine()), factor.rule);
  }
}

TEST(CheckSnp, WithoutAnAuthorKeyItsDigestIsZero) {
  Verdict v = machine();
  v.snp->author_key_enabled = false;
  EXPECT_EQ(rules("{" + kMachine + ", author_key_digest: " + digits('4') + "}", v), "author-key-digest");
  EXPECT_EQ(rules("{" + kMachine + ", author_key_digest: " + digits('0') + "}", v), "");
}

// Bits that a debugger, another guest or another version of the ABI needs are no less part of it.
TEST(CheckSnp, AGuestPolicyIsExactlyTheNamedOne) {
  for (int bit = 0; bit < 64; ++bit) {
    Verdict v = machine();
    v.snp->policy ^= 1ull << bit;
    const auto found = denials("{" + kMachine + ", guest_policy: 000000000003001f}", v,
                               "outdated-tcb, insecure-configuration");
    ASSERT_EQ(found.size(), 1u) << bit;
    EXPECT_EQ(found[0].rule, "guest-policy") << bit;
    if (bit == 17) {
      EXPECT_EQ(found[0].suggestion, "") << "no session allows it";
      continue;
    }
    EXPECT_EQ(rules(suggested(found[0]), v, "outdated-tcb, insecure-configuration"), "") << bit;
  }
}

TEST(CheckSnp, APolicyWithoutTheBitThatIsAlwaysOneIsRefusedWhateverIsTolerated) {
  Verdict v = machine();
  v.snp->policy = 0x10000;
  for (const char* tolerate : {"", "outdated-tcb, insecure-configuration, debug-mode, simulation-mode"}) {
    const auto found = denials(
        "{" + kMachine + ", minimum_tcb: {boot_loader: 7, tee: 1, snp: 22, microcode: 200}}", v, tolerate);
    ASSERT_EQ(found.size(), 1u) << tolerate;
    EXPECT_EQ(found[0].rule, "guest-policy");
    EXPECT_EQ(found[0].actual, "0000000000010000");
    EXPECT_EQ(found[0].suggestion, "");
  }
}

TEST(CheckSnp, FirmwareNumbersOutOfOrderAreRefusedWhateverIsTolerated) {
  const std::string any = "outdated-tcb, insecure-configuration, debug-mode";
  uint8_t attestation::SnpTcb::*const parts[] = {&attestation::SnpTcb::fmc, &attestation::SnpTcb::boot_loader,
                                                 &attestation::SnpTcb::tee, &attestation::SnpTcb::snp,
                                                 &attestation::SnpTcb::microcode};
  for (const auto part : parts) {
    Verdict v = machine();
    ++(v.snp->reported_tcb.*part);
    EXPECT_EQ(rules("{" + kMachine + "}", v, any), "tcb-order") << "reported over committed";
    EXPECT_EQ(denials("{" + kMachine + "}", v, any)[0].suggestion, "");
    ++(v.snp->committed_tcb.*part);
    EXPECT_EQ(rules("{" + kMachine + "}", v, any), "tcb-order") << "committed over current";
    ++(v.snp->current_tcb.*part);
    EXPECT_EQ(rules("{" + kMachine + "}", v, any), "");
    ++(v.snp->current_tcb.*part);
    EXPECT_EQ(rules("{" + kMachine + "}", v, any), "") << "newer than what is committed to, or reported";
    // At the start the host may have run what it later went back from.
    v.snp->launch_tcb.*part += 3;
    EXPECT_EQ(rules("{" + kMachine + "}", v, any), "");
  }
}

const std::string kNewer = "minimum_tcb: {boot_loader: 8, tee: 1, snp: 22, microcode: 200}";

TEST(CheckSnp, TheLastSuggestionMendsAllAndEarlierOnesNoMoreThanTheOwnerRead) {
  Verdict v = machine();
  v.snp->vmpl = 2;
  const std::string wrong = "{measurement: " + digits('9') + ", host_data: " + digits('9', 64) +
                            ", vmpl: 1, " + kNewer + ", guest_policy: \"0000000000030000\"}";
  const auto found = denials(wrong, v, "");
  ASSERT_EQ(rules(wrong, v, ""), "measurement host-data vmpl tcb-status guest-policy");
  EXPECT_EQ(found[0].suggestion, "") << "taken together with the next";
  for (size_t i = 1; i < found.size(); ++i) {
    std::string left;
    for (size_t later = i + 1; later < found.size(); ++later)
      left += (left.empty() ? "" : " ") + found[later].rule;
    EXPECT_EQ(rules(suggested(found[i]), v, ""), left) << found[i].rule;
  }
  EXPECT_EQ(rules(wrong + ", " + suggested(found.back()), v, ""), "") << "beside the session's own";
}

TEST(CheckSnp, TheReasonsAreThoseOfTheNearestVariant) {
  const std::string other = "{measurement: " + digits('9') + "}", old = "{" + kMachine + ", " + kNewer + "}",
                    older = "{" + kMachine + ", " + kNewer + ", host_data: " + digits('9', 64) + "}";
  EXPECT_EQ(rules(other + ", " + old, machine(), ""), "tcb-status") << "of the right measurement";
  EXPECT_EQ(rules(older + ", " + old, machine(), ""), "tcb-status") << "with fewer reasons";
  EXPECT_EQ(rules(old + ", " + older, machine(), ""), "tcb-status");
  EXPECT_EQ(rules(older + ", {" + kMachine + "}", machine()), "");
  const auto found = denials(other + ", {measurement: " + digits('8') + "}", machine());
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].expected, digits('9') + ", " + digits('8'));
}

TEST(CheckSnp, AServiceOfNoMachineIsToldOneThatHolds) {
  for (const uint32_t level : {0u, 2u}) {
    Verdict v = machine();
    v.snp->vmpl = level;
    const auto found = denials("{mrenclave: " + digits('5', 64) + "}", v, "");
    ASSERT_EQ(found.size(), level == 0 ? 1u : 2u);
    EXPECT_EQ(found[0].expected, "no SEV-SNP machine");
    EXPECT_EQ(rules(suggested(found.back()), v, ""), "");
  }
}

TEST(CheckSnp, NothingIsSuggestedForAReportOfTheHost) {
  Verdict v = machine();
  v.snp->vmpl = 0xffffffff;
  const auto found = denials("{measurement: " + digits('9') + ", " + kNewer + "}", v, "");
  ASSERT_EQ(found.size(), 3u);
  for (const Denial& denial : found) EXPECT_EQ(denial.suggestion, "") << denial.rule;
}

TEST(CheckSnp, SessionsAreReadStrictly) {
  for (const Factor& factor : kFactors) {
    const std::string key = std::string(factor.key) + ": ";
    for (const std::string& value : {std::string("~"), std::string(), std::string("[]"), std::string("{}"),
                                     std::string("1"), factor.right.substr(1), factor.right + "1"}) {
      std::string text = variant(factor.key, value);
      const auto session = parse_session(session_text(text));
      ASSERT_FALSE(session.ok()) << text;
      if (value.empty() || value == "~") {
        EXPECT_NE(session.error().message().find(": a key without a value would count as absent"),
                  std::string::npos);
      }
    }
    if (factor.key == std::string_view("measurement")) continue;
    EXPECT_FALSE(parse_session(session_text("{" + key + factor.right + "}")).ok()) << "alone";
    for (const std::string& of_others : {"mrenclave: " + digits('5', 64), "mrtd: " + digits('5')})
      EXPECT_FALSE(parse_session(session_text("{" + of_others + ", " + key + factor.right + "}")).ok());
  }
  for (const char* policy : {"\"0000000000010000\"", "[\"000000000003001f\"]", "196639", "\"0x3001f\""})
    EXPECT_FALSE(parse_session(session_text("{" + kMachine + ", guest_policy: " + policy + "}")).ok());
  EXPECT_TRUE(parse_session(session_text("{" + kMachine + ", guest_policy: 000000000003001f}")).ok());
}

TEST(CheckSnp, EveryFactorIsPartOfTheHash) {
  const auto hash = [](const std::string& text) {
    return session_hash(parse_session(session_text(text)).value(), {});
  };
  for (const Factor& factor : kFactors)
    EXPECT_NE(hash(variant(factor.key, factor.wrong)), hash(variant("", ""))) << factor.key;
}

}  // namespace
}  // namespace cloister::policy
