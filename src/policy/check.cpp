#include "policy/check.h"

#include "policy/check_sgx.h"
#include "policy/check_snp.h"
#include "policy/check_tdx.h"
#include "policy/denials.h"

#include <algorithm>
#include <initializer_list>

namespace cloister::policy {
namespace {

using attestation::TcbStatus;
using attestation::Verdict;

struct StatusRow {
  TcbStatus status;
  std::initializer_list<Toleration> needs;  // all of them
};

const StatusRow* row_of(TcbStatus status) {
  static const StatusRow kRows[] = {
      {TcbStatus::UpToDate, {}},
      {TcbStatus::SWHardeningNeeded, {Toleration::SoftwareHardeningNeeded}},
      {TcbStatus::ConfigurationNeeded, {Toleration::InsecureConfiguration}},
      {TcbStatus::ConfigurationAndSWHardeningNeeded,
       {Toleration::InsecureConfiguration, Toleration::SoftwareHardeningNeeded}},
      {TcbStatus::OutOfDate, {Toleration::OutdatedTcb}},
      {TcbStatus::OutOfDateConfigurationNeeded, {Toleration::OutdatedTcb, Toleration::InsecureConfiguration}},
      {TcbStatus::TDRelaunchAdvised, {Toleration::OutdatedTcb}},
      {TcbStatus::TDRelaunchAdvisedConfigurationNeeded,
       {Toleration::OutdatedTcb, Toleration::InsecureConfiguration}},
  };
  for (const StatusRow& row : kRows) {
    if (row.status == status) return &row;
  }
  return nullptr;  // Revoked, and whatever is added later: refused
}

class Decision {
 public:
  Decision(const Session& session, const Service& service, const Verdict& verdict)
      : session_(session), security_(session.security), service_(service), verdict_(verdict) {}

  std::vector<Denial> denials() {
    if (verdict_.tee == attestation::Tee::Snp && verdict_.snp) {
      denials_ = check_snp(session_, service_, verdict_);
      if (verdict_.status != TcbStatus::Unrated) status();  // no report's is anything else
    } else if (verdict_.tee == attestation::Tee::Tdx) {
      denials_ = check_tdx(session_, service_, verdict_);
      status();
    } else {
      denials_ = check_sgx(service_, verdict_);
      status();
    }
    mode();
    advisories();
    platform();
    return std::move(denials_);
  }

 private:
  void deny(std::string rule, std::string expected, std::string actual, std::string suggestion) {
    denials_.push_back({std::move(rule), std::move(expected), std::move(actual), std::move(suggestion)});
  }

  void mode() {
    if (verdict_.debug && !security_.tolerates(Toleration::DebugMode)) {
      denials_.push_back(tolerable("debug-mode", "a production enclave",
                                   "a debug enclave: its memory can be read from outside",
                                   {Toleration::DebugMode}));
    }
    if (!verdict_.simulated) return;
    std::string wanted(service_.environment_value("SCONE_MODE"));
    for (char& c : wanted) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    if (wanted == "hw") {
      deny("simulation-mode", "hardware: the service's environment says SCONE_MODE: hw",
           "a simulated enclave: it protects nothing from the machine's owner",
           in_service(service_, "environment: {SCONE_MODE: sim}"));
    }
    if (!security_.tolerates(Toleration::SimulationMode)) {
      denials_.push_back(tolerable("simulation-mode", "hardware",
                                   "a simulated enclave: it protects nothing from the machine's owner",
                                   {Toleration::SimulationMode}));
    }
  }

  void status() {
    const std::string name(attestation::tcb_status_name(verdict_.status));
    const StatusRow* row = row_of(verdict_.status);
    if (row == nullptr) return deny("tcb-status", "UpToDate", name, "");
    std::vector<Toleration> missing;
    for (const Toleration toleration : row->needs) {
      if (!security_.tolerates(toleration)) missing.push_back(toleration);
    }
    if (!missing.empty()) denials_.push_back(tolerable("tcb-status", "UpToDate", name, std::move(missing)));
  }

  bool ignored(const std::string& advisory) const {
    if (security_.ignore_all_advisories) return true;
    const std::vector<std::string>& list = security_.ignore_advisories;
    if (std::find(list.begin(), list.end(), advisory) != list.end()) return true;
    const auto covered = [&](std::string_view id, Toleration by) {
      return advisory == id && security_.tolerates(by);
    };
    return covered("INTEL-SA-00233", Toleration::Hyperthreading) ||
           covered("INTEL-SA-00219", Toleration::InsecureIgpu) ||
           covered("INTEL-SA-00657", Toleration::AepicLeak);
  }

  void advisories() {
    std::string missing;
    std::vector<std::string> writable;  // in a session
    bool all_writable = true;
    for (const std::string& advisory : verdict_.advisory_ids) {
      if (ignored(advisory)) continue;
      const bool possible = is_advisory(advisory);
      // Whoever signs for a simulated platform chooses it, and it would stand beside our own words.
      missing += (missing.empty() ? "" : ", ") + (possible ? advisory : "(of no possible name)");
      if (possible) writable.push_back(advisory);
      all_writable = all_writable && possible;
    }
    if (missing.empty()) return;
    deny("advisories", "no open advisory", missing, "");
    if (!all_writable) return;
    denials_.back().suggestion = "security: {attestation: {ignore_advisories: [" + missing + "]}}";
    denials_.back().advisories = std::move(writable);
  }

  void platform() {
    if (verdict_.smt_enabled && !security_.tolerates(Toleration::Hyperthreading)) {
      denials_.push_back(tolerable("hyperthreading", "hyperthreading off",
                                   "hyperthreading on, or the platform does not say",
                                   {Toleration::Hyperthreading}));
    }
    if (!verdict_.revocation_checked) {
      deny("revocation", "revocation lists checked", "no revocation lists", "");
    }
    if (service_.platforms.empty()) return;
    const auto& list = service_.platforms;
    if (std::find(list.begin(), list.end(), verdict_.qe_id) != list.end()) return;
    const std::string id = "INTEL_QE_ID:" + to_hex(verdict_.qe_id);
    deny("platforms", std::to_string(list.size()) + " listed machines", id,
         in_service(service_, "platforms: [" + id + "]"));
  }

  const Session& session_;
  const Security& security_;
  const Service& service_;
  const Verdict& verdict_;
  std::vector<Denial> denials_;
};

}  // namespace

std::string Denial::text() const {
  if (rule == "mrenclave") {
    return "Unexpected enclave measurement (MRENCLAVE, " + actual + ") - Expected " + expected;
  }
  return rule + ": " + actual + " - Expected " + expected;
}

std::vector<Denial> check(const Session& session, const Service& service, const Verdict& verdict) {
  return Decision(session, service, verdict).denials();
}

}  // namespace cloister::policy
