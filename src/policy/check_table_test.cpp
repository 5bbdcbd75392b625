// Every status, fault and advisory against every set of tolerations, for every kind of TEE. What is expected
// stands here as a table, written from docs/formats/session.md; nothing of it is computed by the code under
// test.
#include <gtest/gtest.h>

#include "policy/check.h"

namespace cloister::policy {
namespace {

using attestation::SnpFacts;
using attestation::SnpTcb;
using attestation::TcbStatus;
using attestation::Tee;
using attestation::Verdict;

// One letter each, so that a set is a short text.
struct Letter {
  char letter;
  const char* name;
};
constexpr Letter kLetters[] = {
    {'d', "debug-mode"},    {'h', "hyperthreading"},
    {'g', "insecure-igpu"}, {'s', "software-hardening-needed"},
    {'a', "aepic-leak"},    {'c', "insecure-configuration"},
    {'o', "outdated-tcb"},  {'m', "simulation-mode"},
};
constexpr unsigned kSets = 1u << std::size(kLetters);

struct StatusRow {
  TcbStatus status;
  const char* name;   // in the denial
  const char* needs;  // every one of these; "!": no toleration helps
};
constexpr StatusRow kStatuses[] = {
    {TcbStatus::UpToDate, "UpToDate", ""},
    {TcbStatus::SWHardeningNeeded, "SWHardeningNeeded", "s"},
    {TcbStatus::ConfigurationNeeded, "ConfigurationNeeded", "c"},
    {TcbStatus::ConfigurationAndSWHardeningNeeded, "ConfigurationAndSWHardeningNeeded", "cs"},
    {TcbStatus::OutOfDate, "OutOfDate", "o"},
    {TcbStatus::OutOfDateConfigurationNeeded, "OutOfDateConfigurationNeeded", "oc"},
    {TcbStatus::Revoked, "Revoked", "!"},
    {TcbStatus::TDRelaunchAdvised, "TDRelaunchAdvised", "o"},
    {TcbStatus::TDRelaunchAdvisedConfigurationNeeded, "TDRelaunchAdvisedConfigurationNeeded", "oc"},
};

std::string set_of(unsigned number) {
  std::string out;
  for (size_t i = 0; i < std::size(kLetters); ++i) {
    if ((number >> i & 1) != 0) out += kLetters[i].letter;
  }
  return out;
}

bool has_all(const std::string& set, const std::string& needs) {
  return needs.find_first_not_of(set) == std::string::npos;
}

bool allowed_with(const std::string& set, const std::string& needs) {
  return needs != "!" && has_all(set, needs);
}

std::string session_text(const std::string& set, const std::string& factors,
                         const std::string& ignored = {}) {
  std::string names;
  for (const Letter& letter : kLetters) {
    if (set.find(letter.letter) == std::string::npos) continue;
    names += (names.empty() ? "" : ", ") + std::string(letter.name);
  }
  return "name: s\nversion: \"0.3\"\nservices:\n  - {name: app, command: x, attestation: [" + factors +
         "]}\nsecurity: {attestation: {tolerate: [" + names + "]" +
         (ignored.empty() ? "" : ", ignore_advisories: " + ignored) + "}}\n";
}

const std::string kEnclave = "{mrenclave: [" + std::string(64, '5') + "]}";
const std::string kMinimum = ", minimum_tcb: {boot_loader: 7, tee: 1, snp: 22, microcode: 200}";
std::string machine(const std::string& more) {
  return "{measurement: [" + std::string(96, '5') + "]" + more + "}";
}

Session session_of(const std::string& text) {
  Result<Session> session = parse_session(text);
  EXPECT_TRUE(session.ok()) << session.error().message() << "\n" << text;
  return std::move(session).value();
}
const std::string kTd = "{mrtd: " + std::string(96, '5') + "}";
Session either(const std::string& set) {
  return session_of(session_text(set, kEnclave + ", " + machine(kMinimum) + ", " + kTd));
}

Verdict good(Tee tee) {
  Verdict verdict;
  verdict.tee = tee;
  verdict.status = tee == Tee::Snp ? TcbStatus::Unrated : TcbStatus::UpToDate;
  verdict.smt_enabled = false;
  verdict.mrenclave.fill(0x55);
  verdict.mrtd.fill(0x55);
  verdict.td_attributes = 1u << 28;
  if (tee != Tee::Snp) return verdict;
  SnpFacts facts;
  facts.measurement.fill(0x55);
  facts.policy = 0x30000;
  facts.current_tcb = facts.reported_tcb = facts.committed_tcb = facts.launch_tcb = {0, 7, 1, 22, 200};
  verdict.snp = facts;
  return verdict;
}

std::optional<Denial> denial_of(const std::string& rule, const Session& session, const Verdict& verdict) {
  for (const Denial& denial : check(session, session.services[0], verdict)) {
    if (denial.rule == rule) return denial;
  }
  return std::nullopt;
}

// The letters that a denial's YAML would add.
std::string suggested(const std::string& yaml) {
  const std::string begin = "security: {attestation: {tolerate: [";
  EXPECT_TRUE(yaml.starts_with(begin) && yaml.ends_with("]}}")) << yaml;
  const std::string list = ", " + yaml.substr(begin.size(), yaml.size() - begin.size() - 3) + ",";
  std::string out;
  for (const Letter& letter : kLetters) {
    if (list.find(", " + std::string(letter.name) + ",") != std::string::npos) out += letter.letter;
  }
  EXPECT_FALSE(out.empty()) << yaml;
  return out;
}

constexpr std::pair<Tee, char> kTees[] = {{Tee::Sgx, 's'}, {Tee::Tdx, 't'}, {Tee::Snp, 'n'}};

void expect_status(const Session& session, const std::string& set, Tee tee, const StatusRow& row) {
  Verdict verdict = good(tee);
  verdict.status = row.status;
  const std::string where = std::to_string(static_cast<int>(tee)) + " " + row.name + " with " + set;
  const auto denial = denial_of("tcb-status", session, verdict);
  EXPECT_EQ(!denial.has_value(), allowed_with(set, row.needs)) << where;
  EXPECT_EQ(check(session, session.services[0], verdict).size(), denial ? 1u : 0u) << where;
  if (!denial) return;
  EXPECT_EQ(denial->expected, "UpToDate") << where;
  EXPECT_EQ(denial->actual, row.name) << where;
  if (std::string(row.needs) == "!") {
    EXPECT_EQ(denial->suggestion, "") << where;
  } else {
    EXPECT_TRUE(has_all(set + suggested(denial->suggestion), row.needs)) << where << denial->suggestion;
  }
}

TEST(CheckTable, EveryStatusAgainstEverySetOfTolerations) {
  int checked = 0;
  for (unsigned number = 0; number < kSets; ++number) {
    const Session session = either(set_of(number));
    for (const auto& [tee, letter] : kTees) {
      for (const StatusRow& row : kStatuses) {
        expect_status(session, set_of(number), tee, row);
        ++checked;
      }
    }
  }
  EXPECT_EQ(checked, 256 * 3 * 9);
}

TEST(CheckTable, AQuoteWithoutARatingIsRefusedWhateverIsTolerated) {
  for (unsigned number = 0; number < kSets; ++number) {
    const Session session = either(set_of(number));
    for (const Tee tee : {Tee::Sgx, Tee::Tdx}) {
      Verdict verdict = good(tee);
      verdict.status = TcbStatus::Unrated;
      EXPECT_TRUE(denial_of("tcb-status", session, verdict)) << set_of(number);
    }
  }
}

// What of a machine's firmware is too old, and what then helps.
struct FirmwareRow {
  const char* what;
  std::string minimum;
  SnpTcb reported, launch;
  const char* needs;
};
const SnpTcb kSame = {0, 7, 1, 22, 200}, kHigh = {9, 9, 9, 99, 255};
const FirmwareRow kFirmware[] = {
    {"equal", kMinimum, kSame, kSame, ""},
    {"newer", kMinimum, kHigh, kHigh, ""},
    {"no minimum", "", kHigh, kHigh, "o"},
    {"boot loader", kMinimum, {9, 6, 9, 99, 255}, kHigh, "o"},
    {"tee", kMinimum, {9, 9, 0, 99, 255}, kHigh, "o"},
    {"snp", kMinimum, {9, 9, 9, 21, 255}, kHigh, "o"},
    {"microcode", kMinimum, {9, 9, 9, 99, 199}, kHigh, "o"},
    {"fmc",
     ", minimum_tcb: {fmc: 2, boot_loader: 7, tee: 1, snp: 22, microcode: 200}",
     {1, 9, 9, 99, 255},
     kHigh,
     "o"},
    {"at launch", kMinimum, kHigh, {9, 9, 9, 21, 255}, "o"},
};

TEST(CheckTable, EveryAgeOfAMachinesFirmwareAgainstEverySetOfTolerations) {
  for (const FirmwareRow& row : kFirmware) {
    Verdict verdict = good(Tee::Snp);
    verdict.snp->current_tcb = verdict.snp->committed_tcb = kHigh;
    verdict.snp->reported_tcb = row.reported;
    verdict.snp->launch_tcb = row.launch;
    for (unsigned number = 0; number < kSets; ++number) {
      const std::string set = set_of(number);
      const auto denial =
          denial_of("tcb-status", session_of(session_text(set, machine(row.minimum))), verdict);
      EXPECT_EQ(!denial.has_value(), allowed_with(set, row.needs)) << row.what << " with " << set;
      if (!denial) continue;
      // The suggested variant in place of the session's: then it is allowed.
      const size_t at = denial->suggestion.find("attestation: [") + 14;
      const std::string variant = denial->suggestion.substr(at, denial->suggestion.rfind("]}]") - at);
      const Session changed = session_of(session_text(set, variant));
      EXPECT_FALSE(denial_of("tcb-status", changed, verdict)) << denial->suggestion;
    }
  }
}

// What else can be wrong, its rule, and what then helps.
struct FaultRow {
  const char* rule;
  const char* tees;  // s SGX, t TDX, n SNP
  void (*make)(Verdict&);
  const char* needs;
};
const FaultRow kFaults[] = {
    {"debug-mode", "stn", [](Verdict& v) { v.debug = true; }, "d"},
    {"simulation-mode", "stn", [](Verdict& v) { v.simulated = true; }, "m"},
    {"hyperthreading", "stn", [](Verdict& v) { v.smt_enabled = true; }, "h"},
    {"revocation", "stn", [](Verdict& v) { v.revocation_checked = false; }, "!"},
    {"advisories", "st", [](Verdict& v) { v.advisory_ids = {"INTEL-SA-00233"}; }, "h"},
    {"advisories", "st", [](Verdict& v) { v.advisory_ids = {"INTEL-SA-00219"}; }, "g"},
    {"advisories", "st", [](Verdict& v) { v.advisory_ids = {"INTEL-SA-00657"}; }, "a"},
    {"advisories", "st",
     [](Verdict& v) {
       v.advisory_ids = {"INTEL-SA-00219", "INTEL-SA-00657"};
     },
     "ga"},
    {"advisories", "st", [](Verdict& v) { v.advisory_ids = {"INTEL-SA-00615"}; }, "!"},
    {"mrenclave", "s", [](Verdict& v) { v.mrenclave[31] ^= 1; }, "!"},
    {"measurement", "n", [](Verdict& v) { v.snp->measurement[47] ^= 1; }, "!"},
    {"vmpl", "n", [](Verdict& v) { v.snp->vmpl = 1; }, "!"},
    {"vmpl", "n", [](Verdict& v) { v.snp->vmpl = 0xffffffff; }, "!"},
    {"guest-policy", "n", [](Verdict& v) { v.snp->policy &= ~(1ull << 17); }, "!"},
    {"tcb-order", "n", [](Verdict& v) { v.snp->reported_tcb.snp = 23; }, "!"},
    {"tcb-order", "n", [](Verdict& v) { v.snp->current_tcb.microcode = 199; }, "!"},
    {"migration", "n", [](Verdict& v) { v.snp->migration_agent = true; }, "c"},
    {"migration", "n", [](Verdict& v) { v.snp->policy |= 1u << 18; }, "c"},
    {"mrtd", "t", [](Verdict& v) { v.mrtd[47] ^= 1; }, "!"},
    {"migration", "t", [](Verdict& v) { v.td_attributes |= 1u << 29; }, "c"},
    {"td-attributes", "t", [](Verdict& v) { v.td_attributes = 0; }, "c"},
    {"td-attributes", "t", [](Verdict& v) { v.td_attributes |= 1u << 27; }, "c"},
    {"td-attributes", "t", [](Verdict& v) { v.td_attributes |= 1ull << 62; }, "c"},
};

void expect_fault(const Session& session, const std::string& set, Tee tee, const FaultRow& row) {
  Verdict verdict = good(tee);
  row.make(verdict);
  const bool allowed = allowed_with(set, row.needs);
  const std::string where = std::to_string(static_cast<int>(tee)) + " " + row.rule + " with " + set;
  EXPECT_EQ(check(session, session.services[0], verdict).size(), allowed ? 0u : 1u) << where;
  EXPECT_EQ(!denial_of(row.rule, session, verdict).has_value(), allowed) << where;
}

TEST(CheckTable, EveryFaultAgainstEverySetOfTolerations) {
  for (unsigned number = 0; number < kSets; ++number) {
    const Session session = either(set_of(number));
    for (const auto& [tee, letter] : kTees) {
      for (const FaultRow& row : kFaults) {
        if (std::string(row.tees).find(letter) == std::string::npos) continue;
        expect_fault(session, set_of(number), tee, row);
      }
    }
  }
}

// The list of ignored advisories, against a platform with two.
struct IgnoredRow {
  const char* list;
  const char* set;
  bool allowed;
};
constexpr IgnoredRow kIgnored[] = {
    {"[]", "", false},
    {"[INTEL-SA-00334]", "", false},
    {"[INTEL-SA-00615]", "o", false},
    {"[INTEL-SA-00334, INTEL-SA-00615]", "", true},
    {"[INTEL-SA-00615, INTEL-SA-00999, INTEL-SA-00334]", "", true},
    {"[INTEL-SA-00335, INTEL-SA-006155]", "", false},
    {"\"*\"", "d", true},
    {"[\"*\"]", "d", true},
};

TEST(CheckTable, IgnoredAdvisoriesAreExactlyTheListed) {
  for (const IgnoredRow& row : kIgnored) {
    const Session session = session_of(session_text(row.set, kEnclave, row.list));
    Verdict verdict = good(Tee::Sgx);
    verdict.advisory_ids = {"INTEL-SA-00334", "INTEL-SA-00615"};
    EXPECT_EQ(!denial_of("advisories", session, verdict).has_value(), row.allowed) << row.list;
  }
}

TEST(CheckTable, AnEnclaveIsNoMachineAndNoMachineAnEnclave) {
  const Session enclave = session_of(session_text("", kEnclave));
  const Session guest = session_of(session_text("", machine(kMinimum)));
  EXPECT_TRUE(check(enclave, enclave.services[0], good(Tee::Sgx)).empty());
  EXPECT_TRUE(check(guest, guest.services[0], good(Tee::Snp)).empty());
  EXPECT_TRUE(denial_of("measurement", enclave, good(Tee::Snp)));
  EXPECT_TRUE(denial_of("mrenclave", guest, good(Tee::Sgx)));
  EXPECT_TRUE(denial_of("mrtd", enclave, good(Tee::Tdx)));
  EXPECT_TRUE(denial_of("mrtd", guest, good(Tee::Tdx)));
  const Session td = session_of(session_text("", kTd));
  EXPECT_TRUE(check(td, td.services[0], good(Tee::Tdx)).empty());
  EXPECT_TRUE(denial_of("mrenclave", td, good(Tee::Sgx)));
  EXPECT_TRUE(denial_of("measurement", td, good(Tee::Snp)));
  Verdict without_facts = good(Tee::Snp);
  without_facts.snp.reset();
  EXPECT_TRUE(denial_of("tee", guest, without_facts));
}

TEST(CheckTable, AMachinesLevelIsTheOneAllowedOrAMorePrivilegedOne) {
  for (uint32_t allowed = 0; allowed <= 3; ++allowed) {
    const Session session = session_of(session_text("o", machine(", vmpl: " + std::to_string(allowed))));
    for (uint32_t level = 0; level <= 3; ++level) {
      Verdict verdict = good(Tee::Snp);
      verdict.snp->vmpl = level;
      EXPECT_EQ(check(session, session.services[0], verdict).empty(), level <= allowed) << level << allowed;
    }
  }
}

TEST(CheckTable, VariantsThatMixOrLackFactorsAreNoSession) {
  for (const char* factors : {"{vmpl: 0}", "{}", "{measurement: 5555}"}) {
    EXPECT_FALSE(parse_session(session_text("", factors)).ok()) << factors;
  }
  EXPECT_TRUE(parse_session(session_text("", machine(kMinimum + ", vmpl: 3"))).ok());
  const std::string mixed = ", mrenclave: [" + std::string(64, '5') + "]";
  for (const std::string& rest :
       {mixed, std::string(", vmpl: 4"), std::string(", minimum_tcb: {snp: 1}"),
        std::string(", minimum_tcb: 5"),
        std::string(", minimum_tcb: {boot_loader: 256, tee: 0, snp: 0, microcode: 0}"),
        std::string(", mrtd: 5"), ", mrtd: " + std::string(96, '5'), std::string(", rtmr0: []")}) {
    EXPECT_FALSE(parse_session(session_text("", machine(rest))).ok()) << rest;
  }
}

}  // namespace
}  // namespace cloister::policy
