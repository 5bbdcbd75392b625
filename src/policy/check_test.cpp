// Which evidence may be which service: every rule refuses alone, and says what would allow it.
#include "policy/check.h"

#include <gtest/gtest.h>

namespace cloister::policy {
namespace {

using attestation::TcbStatus;
using attestation::Verdict;

Session session_with(const std::string& tolerate, const std::string& service_extra = "",
                     const std::string& attestation_extra = "") {
  const std::string text = "name: s\nversion: \"0.3\"\nservices:\n  - name: app\n    command: /app\n" +
                           service_extra + "    mrenclaves: [" + std::string(64, '5') +
                           "]\nsecurity:\n  attestation:\n    tolerate: [" + tolerate + "]\n" +
                           attestation_extra;
  Result<Session> session = parse_session(text);
  EXPECT_TRUE(session.ok()) << session.error().message();
  return std::move(session).value();
}

Verdict good() {
  Verdict verdict;
  verdict.status = TcbStatus::UpToDate;
  verdict.smt_enabled = false;
  verdict.mrenclave.fill(0x55);
  return verdict;
}

std::string rules(const Session& session, const Verdict& verdict) {
  std::string out;
  for (const Denial& denial : check(session, session.services[0], verdict)) {
    out += (out.empty() ? "" : " ") + denial.rule;
  }
  return out;
}

TEST(Check, AllowsTheListedMeasurementOnly) {
  const Session session = session_with("");
  EXPECT_EQ(rules(session, good()), "");
  Verdict other = good();
  other.mrenclave[31] ^= 1;
  EXPECT_EQ(rules(session, other), "mrenclave");
  const std::string text = check(session, session.services[0], other)[0].text();
  EXPECT_NE(text.find("Unexpected enclave measurement (MRENCLAVE, " + to_hex(other.mrenclave)),
            std::string::npos);
}

TEST(Check, ShortensLongListsForTheReader) {
  Session session = session_with("");
  std::vector<AttestationVariant>& variants = session.services[0].attestation;
  variants[0].mrenclaves.assign(11, ByteArray<32>{});
  EXPECT_TRUE(check(session, session.services[0], good())[0].expected.ends_with(" and 3 more"));
  variants[0].mrenclaves.clear();
  variants[0].snp.emplace().measurements.assign(11, ByteArray<48>{});
  Verdict machine = good();
  machine.tee = attestation::Tee::Snp;
  machine.status = TcbStatus::Unrated;
  machine.snp.emplace().measurement.fill(1);
  EXPECT_TRUE(check(session, session.services[0], machine)[0].expected.ends_with(" and 3 more"));
}

TEST(Check, RefusesDebugUnlessTolerated) {
  Verdict verdict = good();
  verdict.debug = true;
  EXPECT_EQ(rules(session_with(""), verdict), "debug-mode");
  EXPECT_EQ(rules(session_with("debug-mode"), verdict), "");
}

TEST(Check, RefusesSimulationUnlessToleratedAndNotHardwareOnly) {
  Verdict verdict = good();
  verdict.simulated = true;
  EXPECT_EQ(rules(session_with(""), verdict), "simulation-mode");
  EXPECT_EQ(rules(session_with("simulation-mode"), verdict), "");
  EXPECT_EQ(rules(session_with("simulation-mode", "    environment: {SCONE_MODE: hw}\n"), verdict),
            "simulation-mode");
}

TEST(Check, RefusesARevokedPlatformWhateverIsTolerated) {
  Verdict verdict = good();
  verdict.status = TcbStatus::Revoked;
  EXPECT_EQ(rules(session_with("outdated-tcb, software-hardening-needed, insecure-configuration"), verdict),
            "tcb-status");
}

TEST(Check, NeedsEveryTolerationOfACombinedStatus) {
  Verdict verdict = good();
  verdict.status = TcbStatus::OutOfDateConfigurationNeeded;
  EXPECT_EQ(rules(session_with("outdated-tcb"), verdict), "tcb-status");
  EXPECT_EQ(rules(session_with("outdated-tcb, insecure-configuration"), verdict), "");
}

TEST(Check, NeedsEveryAdvisoryIgnored) {
  Verdict verdict = good();
  verdict.advisory_ids = {"INTEL-SA-00161", "INTEL-SA-00289"};
  EXPECT_EQ(rules(session_with("", "", "    ignore_advisories: [INTEL-SA-00161]\n"), verdict), "advisories");
  EXPECT_EQ(rules(session_with("", "", "    ignore_advisories: [INTEL-SA-00161, INTEL-SA-00289]\n"), verdict),
            "");
}

TEST(Check, SuggestsOnlyAdvisoriesThatASessionTakes) {
  Verdict verdict = good();
  verdict.advisory_ids = {"INTEL-SA-00161", "OTHER]}}, tolerate: [debug-mode"};
  const Session session = session_with("");
  const std::vector<Denial> denials = check(session, session.services[0], verdict);
  ASSERT_EQ(denials.size(), 1u);
  EXPECT_EQ(denials[0].suggestion, "");
  EXPECT_EQ(denials[0].actual, "INTEL-SA-00161, (of no possible name)");
  for (const char* name : {"INTEL-SA-", "INTEL-SA-1x", "INTEL-SA-00161]", "intel-sa-00161", "SA-00161"}) {
    const std::string text = "name: s\nversion: \"0.3\"\nsecurity: {attestation: {ignore_advisories: [\"" +
                             std::string(name) + "\"]}}\n";
    EXPECT_FALSE(parse_session(text).ok()) << name;
  }
}

// Who has no session to write it into reads it there.
TEST(Check, SaysAsDataWhatToTolerate) {
  Verdict verdict = good();
  verdict.debug = verdict.simulated = verdict.smt_enabled = true;
  verdict.mrenclave[0] ^= 1;
  verdict.status = TcbStatus::OutOfDateConfigurationNeeded;
  verdict.advisory_ids = {"INTEL-SA-00161", "INTEL-SA-00289"};
  const Session session = session_with("outdated-tcb", "    environment: {SCONE_MODE: hw}\n");
  std::string found;
  for (const Denial& denial : check(session, session.services[0], verdict)) {
    found += denial.rule + ":";
    for (const Toleration one : denial.tolerations) {
      found += " " + std::string(toleration_name(one));
      EXPECT_NE(denial.suggestion.find(toleration_name(one)), std::string::npos) << denial.suggestion;
    }
    for (const std::string& one : denial.advisories) found += " " + one;
    found += "\n";
  }
  EXPECT_EQ(found,
            "mrenclave:\ntcb-status: insecure-configuration\ndebug-mode: debug-mode\n"
            "simulation-mode:\nsimulation-mode: simulation-mode\n"
            "advisories: INTEL-SA-00161 INTEL-SA-00289\nhyperthreading: hyperthreading\n");
  verdict.advisory_ids.push_back("OTHER");
  for (const Denial& denial : check(session, session.services[0], verdict))
    EXPECT_TRUE(denial.advisories.empty()) << "no session takes all of them";
}

TEST(Check, ReportsEveryReasonAtOnce) {
  Verdict verdict = good();
  verdict.debug = verdict.simulated = verdict.smt_enabled = true;
  verdict.mrenclave[0] ^= 1;
  EXPECT_EQ(rules(session_with(""), verdict), "mrenclave debug-mode simulation-mode hyperthreading");
}

}  // namespace
}  // namespace cloister::policy
