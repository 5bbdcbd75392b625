// TDX machines: every register alone, what a report does not say, attributes, migration, and the suggestions,
// which have to help when an owner takes them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "policy/check_test_support.h"
#include "policy/lint.h"

namespace cloister::policy {
namespace {

using attestation::Tee;
using attestation::Verdict;

std::string hex_of(char digit) { return std::string(96, digit); }

ByteArray<48> filled(uint8_t byte) {
  ByteArray<48> out;
  out.fill(byte);
  return out;
}

// A machine of TD 1.5. Register number i is full of the hex digit `kDigits[i]`.
constexpr char kDigits[] = "123456789ab";
Verdict machine() {
  Verdict v;
  v.tee = Tee::Tdx;
  v.status = attestation::TcbStatus::UpToDate;
  v.smt_enabled = false;
  v.td_attributes = 1u << 28;
  v.mrtd = filled(0x11);
  v.rtmrs = {filled(0x22), filled(0x33), filled(0x44), filled(0x55)};
  v.mr_seam = filled(0x66);
  v.mr_signer_seam = filled(0x77);
  v.mr_config_id = filled(0x88);
  v.mr_owner = filled(0x99);
  v.mr_owner_config = filled(0xaa);
  v.mr_service_td = filled(0xbb);
  return v;
}
const std::string kMrtd = "mrtd: " + hex_of('1');

std::vector<Denial> denials(const std::string& variants, const Verdict& verdict,
                            const std::string& tolerate = "") {
  return denials_of(session_text(variants, tolerate), verdict);
}
std::string rules(const std::string& variants, const Verdict& verdict, const std::string& tolerate = "") {
  return rules_of(denials(variants, verdict, tolerate));
}

TEST(CheckTdx, EveryRegisterIsComparedWithItsOwnKey) {
  static_assert(sizeof(kDigits) - 1 == std::size(kTdxRegisters));
  std::string all;
  for (size_t i = 0; i < std::size(kTdxRegisters); ++i) {
    all += (i == 0 ? "" : ", ") + std::string(kTdxRegisters[i]) + ": " + hex_of(kDigits[i]);
  }
  EXPECT_EQ(rules("{" + all + "}", machine()), "");
  for (size_t i = 0; i < std::size(kTdxRegisters); ++i) {
    const std::string name(kTdxRegisters[i]), right = name + ": " + hex_of(kDigits[i]);
    std::string other = all;
    other.replace(other.find(right), right.size(), name + ": [" + hex_of('0') + ", " + hex_of('c') + "]");
    const auto found = denials("{" + other + "}", machine());
    ASSERT_EQ(found.size(), 1u) << name;
    EXPECT_EQ(found[0].rule, name);
    EXPECT_EQ(found[0].expected, hex_of('0') + ", " + hex_of('c'));
    EXPECT_EQ(found[0].actual, hex_of(kDigits[i]));
    EXPECT_EQ(found[0].text(), name + ": " + found[0].actual + " - Expected " + found[0].expected);
    EXPECT_EQ(rules(suggested(found[0]), machine()), "") << "taken as it is";
    // What the session named besides stays named.
    for (const std::string_view factor : kTdxRegisters)
      EXPECT_NE(found[0].suggestion.find(std::string(factor) + ": ["), std::string::npos) << name << factor;
    other.replace(other.find(name + ": ["), name.size() + 2, name + ": [" + hex_of(kDigits[i]) + ", ");
    other.erase(other.find('[', other.find(hex_of(kDigits[i]) + ", ")), 1);
    EXPECT_EQ(rules("{" + other + "}", machine()), "") << "one of a list: " << other;
  }
}

TEST(CheckTdx, OneVariantMustHoldCompletely) {
  const std::string left = "{" + kMrtd + ", rtmr1: " + hex_of('f') + "}";
  const std::string right = "{mrtd: " + hex_of('e') + ", rtmr1: " + hex_of('3') + "}";
  EXPECT_EQ(rules(left + ", " + right, machine()), "rtmr1");
  EXPECT_EQ(rules(left + ", " + right + ", {" + kMrtd + "}", machine()), "");
  // The reasons of the variant that has the fewest.
  const std::string two = "{" + kMrtd + ", rtmr1: " + hex_of('f') + ", rtmr2: " + hex_of('f') + "}";
  EXPECT_EQ(rules(two + ", " + left, machine()), "rtmr1");
  EXPECT_EQ(rules(two, machine()), "rtmr1 rtmr2");
  // Of the right firmware rather than with fewer reasons.
  const std::string other = "{mrtd: " + hex_of('e') + "}";
  EXPECT_EQ(rules(two + ", " + other, machine()), "rtmr1 rtmr2");
  EXPECT_EQ(rules(other + ", " + two, machine()), "rtmr1 rtmr2");
}

TEST(CheckTdx, AnotherFirmwareSparesAMachineNoRule) {
  const std::string other = "{mrtd: " + hex_of('e') + "}",
                    enclave = "{mrenclave: " + std::string(64, '5') + "}";
  for (const std::string& variant : {other, enclave}) {
    Verdict v = machine();
    v.td_attributes = 0;
    EXPECT_EQ(rules(variant, v), "mrtd td-attributes") << variant;
    v.td_attributes = 1u << 28 | 1u << 29;
    EXPECT_EQ(rules(variant, v), "mrtd migration") << variant;
    EXPECT_EQ(rules(variant, v, "insecure-configuration"), "mrtd") << variant;
  }
  EXPECT_EQ(rules("{mrtd: " + hex_of('e') + ", rtmr1: " + hex_of('e') + "}", machine()), "mrtd rtmr1");
}

TEST(CheckTdx, OnlyTheSuggestionAboutAttributesTakesThoseOfTheMachine) {
  Verdict v = machine();
  v.td_attributes = 1ull << 40;
  const std::string owners = ", td_attributes: \"0000000010000000\"",
                    machines = ", td_attributes: \"0000010000000000\"";
  const std::string other = "{mrtd: " + hex_of('e'), right = "{mrtd: [" + hex_of('1') + "]";
  auto found = denials(other + owners + "}", v);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(suggested(found[0]), right + owners + "}");
  EXPECT_EQ(found[1].rule, "td-attributes");
  EXPECT_EQ(suggested(found[1]), right + machines + "}");
  EXPECT_EQ(rules(suggested(found[1]), v), "");
  found = denials(other + "}", v);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(suggested(found[0]), right + "}");
  EXPECT_EQ(suggested(found[1]), right + machines + "}");
}

TEST(CheckTdx, TheLastSuggestionMendsAllAndEarlierOnesWhatWasNamedUntilThere) {
  Verdict v = machine();
  v.td_attributes = 1ull << 40 | 1u << 29;
  const auto found = denials(
      "{mrtd: " + hex_of('e') + ", rtmr1: " + hex_of('e') + ", td_attributes: \"0000000010000000\"}", v);
  ASSERT_EQ(rules_of(found), "mrtd rtmr1 td-attributes migration");
  EXPECT_EQ(found[0].suggestion, "");
  EXPECT_EQ(rules(suggested(found[1]), v), "td-attributes migration");
  EXPECT_EQ(rules(suggested(found[2]), v), "migration");
  EXPECT_EQ(rules(suggested(found[3]), v), "");
}

TEST(CheckTdx, OneSuggestionStandsForAllRegisters) {
  std::string variant;
  for (const std::string_view name : kTdxRegisters)
    variant += (variant.empty() ? "" : ", ") + std::string(name) + ": " + hex_of('f');
  const auto found = denials("{" + variant + "}", machine());
  ASSERT_EQ(found.size(), kTdxRegisters.size());
  for (size_t i = 0; i + 1 < found.size(); ++i) {
    EXPECT_EQ(found[i].rule, kTdxRegisters[i]);
    EXPECT_EQ(found[i].suggestion, "") << found[i].rule;
    EXPECT_EQ(found[i].expected, std::string(16, 'f') + "...") << found[i].rule;
  }
  EXPECT_EQ(rules(suggested(found.back()), machine()), "");
}

TEST(CheckTdx, AnUnknownFirmwareIsNamedWithWhatItBooted) {
  const auto found =
      denials("{mrtd: [" + hex_of('e') + ", " + hex_of('f') + "], rtmr3: " + hex_of('5') + "}", machine());
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].rule, "mrtd");
  EXPECT_EQ(found[0].expected, hex_of('e') + ", " + hex_of('f'));
  EXPECT_EQ(found[0].actual, hex_of('1'));
  EXPECT_EQ(suggested(found[0]), "{mrtd: [" + hex_of('1') + "], rtmr3: [" + hex_of('5') + "]}");
  const auto enclaves = denials("{mrenclave: " + std::string(64, '5') + "}", machine());
  ASSERT_EQ(enclaves.size(), 1u);
  EXPECT_EQ(enclaves[0].expected, "no TDX machine");
  EXPECT_EQ(suggested(enclaves[0]), "{mrtd: [" + hex_of('1') + "], rtmr0: [" + hex_of('2') + "], rtmr1: [" +
                                        hex_of('3') + "], rtmr2: [" + hex_of('4') + "]}");
}

TEST(CheckTdx, LongListsAreShortenedForTheReader) {
  std::string list;
  for (int i = 0; i < 11; ++i) list += (i == 0 ? "" : ", ") + hex_of('e');
  const auto found = denials("{mrtd: [" + list + "]}", machine());
  ASSERT_EQ(found.size(), 1u);
  EXPECT_TRUE(found[0].expected.ends_with(" and 3 more"));
  // The more registers, the less of each.
  const auto three =
      denials("{mrtd: [" + list + "], rtmr0: [" + list + "], rtmr1: [" + list + "]}", machine());
  ASSERT_EQ(three.size(), 3u);
  for (const Denial& denial : three)
    EXPECT_EQ(denial.expected, hex_of('e') + ", " + hex_of('e') + " and 9 more");
}

TEST(CheckTdx, WhatAReportOfTd10DoesNotSayIsNoMatch) {
  Verdict old = machine();
  old.mr_service_td.reset();
  const auto found = denials("{" + kMrtd + ", mrservicetd: " + hex_of('0') + "}", old);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].rule, "mrservicetd");
  EXPECT_EQ(found[0].actual, "a report of TD 1.0, which does not say");
  EXPECT_EQ(found[0].suggestion, "");
  EXPECT_EQ(rules("{" + kMrtd + "}", old), "");
  // No suggestion leaves that factor out.
  old.td_attributes = 0;
  const auto all = denials("{mrtd: " + hex_of('e') + ", mrservicetd: " + hex_of('0') + "}", old);
  ASSERT_EQ(all.size(), 3u);
  for (const Denial& denial : all) EXPECT_EQ(denial.suggestion, "") << denial.rule;
}

TEST(CheckTdx, AttributesAreTheNamedOnesOrSoundOnes) {
  Verdict v = machine();
  const std::string exactly = "{" + kMrtd + ", td_attributes: \"0000000010000000\"}";
  EXPECT_EQ(rules(exactly, v), "");
  v.td_attributes = 1u << 28 | 1u << 30;
  EXPECT_EQ(rules(exactly, v, "insecure-configuration"), "td-attributes") << "named is named";
  EXPECT_EQ(rules("{" + kMrtd + "}", v), "") << "PKS";
  v.td_attributes |= 1ull << 40;
  const auto found = denials("{" + kMrtd + "}", v);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].actual, "0000010050000000");
  EXPECT_EQ(rules(suggested(found[0]), v), "");
  EXPECT_EQ(rules("{" + kMrtd + "}", v, "insecure-configuration"), "");
  v = machine();
  v.debug = true;
  v.td_attributes |= 0x20;
  EXPECT_EQ(rules("{" + kMrtd + "}", v), "debug-mode") << "the low byte has one rule";
  EXPECT_EQ(rules("{" + kMrtd + ", td_attributes: \"0000000010000020\"}", v), "debug-mode");
}

TEST(CheckTdx, AMachineThatMayMoveNeedsItsMoverNamedOrAToleration) {
  Verdict v = machine();
  v.td_attributes |= 1u << 29;
  const auto found = denials("{" + kMrtd + "}", v);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].rule, "migration");
  EXPECT_EQ(suggested(found[0]), "{mrtd: [" + hex_of('1') + "], mrservicetd: [" + hex_of('b') + "]}");
  EXPECT_EQ(rules(suggested(found[0]), v), "");
  EXPECT_EQ(rules("{" + kMrtd + "}", v, "insecure-configuration"), "");
  EXPECT_EQ(rules("{" + kMrtd + ", mrservicetd: " + hex_of('c') + "}", v), "mrservicetd");
  const std::string nobody = "{" + kMrtd + ", mrservicetd: " + hex_of('0') + "}";
  v.mr_service_td = ByteArray<48>{};
  EXPECT_EQ(rules(nobody, v), "migration") << "one may be bound later";
  v.mr_service_td.reset();
  EXPECT_EQ(rules("{" + kMrtd + "}", v), "migration");
}

TEST(CheckTdx, SessionsAreReadStrictly) {
  for (const std::string& variant :
       {std::string("{rtmr0: ") + hex_of('2') + "}", std::string("{mrtd: []}"), std::string("{mrtd: 11}"),
        std::string("{td_attributes: \"0000000010000000\"}"), "{" + kMrtd + ", rtmr4: " + hex_of('2') + "}",
        "{" + kMrtd + ", td_attributes: 268435456}", "{" + kMrtd + ", vmpl: 0}",
        "{" + kMrtd + ", mrenclave: " + std::string(64, '5') + "}",
        "{" + kMrtd + ", rtmr0: [" + hex_of('2') + "2]}"}) {
    EXPECT_FALSE(parse_session(session_text(variant)).ok()) << variant;
  }
  EXPECT_TRUE(parse_session(session_text("{" + kMrtd + ", td_attributes: 0000000010000000}")).ok());
}

// Else somebody believes in a factor that is none: `rtmr1:` with the value forgotten, or a variable that is
// `~`.
TEST(CheckTdx, AFactorWithoutAValueIsRefusedInEveryKindOfVariant) {
  std::vector<std::string> variants;
  for (const std::string_view name : kTdxRegisters) {
    if (name != "mrtd") variants.push_back("{" + kMrtd + ", " + std::string(name) + ": ~}");
  }
  const std::string enclave = "mrenclave: " + std::string(64, '5'), snp = "measurement: " + hex_of('1'),
                    signer = "signer: {mrsigner: " + std::string(64, '5') + ", isvprodid: 1, isvsvn_min: 1";
  for (const std::string& variant :
       {"{" + kMrtd + ", rtmr1: }", "{" + kMrtd + ", rtmr1: null}", "{" + kMrtd + ", td_attributes: ~}",
        "{" + kMrtd + ", mrenclave: ~}", "{" + kMrtd + ", measurement: ~}", "{mrtd: ~, " + enclave + "}",
        "{" + enclave + ", signer: ~}", "{mrenclave: ~, " + signer + "}}", "{" + signer + ", isvsvn_max: ~}}",
        "{" + snp + ", minimum_tcb: ~}", "{" + snp + ", vmpl: ~}",
        "{" + snp + ", minimum_tcb: {boot_loader: 1, tee: 1, snp: 1, microcode: 1, fmc: ~}}"})
    variants.push_back(variant);
  for (const std::string& variant : variants) {
    const auto session = parse_session(session_text(variant));
    ASSERT_FALSE(session.ok()) << variant;
    EXPECT_NE(session.error().message().find(": a key without a value would count as absent"),
              std::string::npos)
        << session.error().message();
  }
  EXPECT_TRUE(parse_session(session_text("{" + signer + "}}")).ok());
}

TEST(CheckTdx, LintNamesAVariantThatMeasuresTheFirmwareOnly) {
  const auto found = [](const std::string& variant) {
    for (const Finding& finding : lint(parsed(session_text(variant)))) {
      if (finding.rule == "firmware-only") return true;
    }
    return false;
  };
  const std::string kernel = ", rtmr1: " + hex_of('3'), more = ", rtmr2: " + hex_of('4');
  EXPECT_TRUE(found("{" + kMrtd + "}"));
  EXPECT_TRUE(found("{" + kMrtd + kernel + "}"));
  EXPECT_FALSE(found("{" + kMrtd + kernel + more + "}"));
  EXPECT_FALSE(found("{mrenclave: " + std::string(64, '5') + "}"));
}

TEST(CheckTdx, LintNamesAttributesThatWeakenAndWhatTolerationMeans) {
  const auto text = [](const Session& session, std::string_view rule) {
    for (const Finding& finding : lint(session)) {
      if (finding.rule == rule) return finding.text;
    }
    return std::string();
  };
  const auto attributes = [&](const std::string& value) {
    return text(parsed(session_text("{" + kMrtd + ", td_attributes: \"" + value + "\"}")), "td-attributes");
  };
  EXPECT_EQ(attributes("0000000010000000"), "");
  EXPECT_EQ(attributes("80000000f0000000"), "") << "the migration rule judges MIGRATABLE";
  EXPECT_THAT(attributes("0000000000000000"), ::testing::HasSubstr("SEPT_VE_DISABLE"));
  EXPECT_THAT(attributes("0000000010000001"), ::testing::HasSubstr("debugging"));
  EXPECT_THAT(attributes("0000010010000000"), ::testing::HasSubstr("unknown"));
  EXPECT_EQ(text(parsed(session_text("{" + kMrtd + "}")), "td-attributes"), "");
  const std::string tolerated =
      text(parsed(session_text("{" + kMrtd + "}", "insecure-configuration")), "insecure-configuration");
  for (const char* word : {"SEPT_VE_DISABLE", "unknown", "another machine"})
    EXPECT_THAT(tolerated, ::testing::HasSubstr(word));
}

}  // namespace
}  // namespace cloister::policy
