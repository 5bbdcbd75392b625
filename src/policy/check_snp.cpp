#include "policy/check_snp.h"

#include "policy/denials.h"

#include <algorithm>

namespace cloister::policy {
namespace {

using attestation::SnpFacts;
using attestation::SnpTcb;

std::string yaml_of(const SnpTcb& tcb) {
  std::string out = "{boot_loader: " + std::to_string(tcb.boot_loader) + ", tee: " + std::to_string(tcb.tee) +
                    ", snp: " + std::to_string(tcb.snp) + ", microcode: " + std::to_string(tcb.microcode);
  if (tcb.fmc != 0) out += ", fmc: " + std::to_string(tcb.fmc);
  return out + "}";
}

// Both when the machine was started and now: what was old at the start may have been changed then.
SnpTcb lowest(const SnpFacts& facts) {
  const SnpTcb &a = facts.reported_tcb, &b = facts.launch_tcb;
  return {std::min(a.fmc, b.fmc), std::min(a.boot_loader, b.boot_loader), std::min(a.tee, b.tee),
          std::min(a.snp, b.snp), std::min(a.microcode, b.microcode)};
}

bool at_least(const SnpTcb& tcb, const SnpTcb& minimum) {
  return tcb.fmc >= minimum.fmc && tcb.boot_loader >= minimum.boot_loader && tcb.tee >= minimum.tee &&
         tcb.snp >= minimum.snp && tcb.microcode >= minimum.microcode;
}

bool lists(const SnpFactor& factor, const ByteArray<48>& measurement) {
  return std::find(factor.measurements.begin(), factor.measurements.end(), measurement) !=
         factor.measurements.end();
}

// The reasons against one variant that has the right measurement.
std::vector<Denial> against(const SnpFactor& factor, const Service& service, const Security& security,
                            const SnpFacts& facts) {
  std::vector<Denial> out;
  const std::string measurement = "measurement: [" + to_hex(facts.measurement) + "]";
  if (facts.vmpl > 3) {
    out.push_back({"vmpl", "a report that the machine asked for", "one that its host asked for", ""});
  } else if (facts.vmpl > factor.vmpl) {
    out.push_back({"vmpl", "level " + std::to_string(factor.vmpl) + " or more privileged",
                   "level " + std::to_string(facts.vmpl),
                   with_variant(service, measurement + ", vmpl: " + std::to_string(facts.vmpl))});
  }
  const SnpTcb tcb = lowest(facts);
  const bool current = factor.minimum_tcb && at_least(tcb, *factor.minimum_tcb);
  if (!current && !security.tolerates(Toleration::OutdatedTcb)) {
    out.push_back(
        {"tcb-status",
         factor.minimum_tcb ? "at least " + yaml_of(*factor.minimum_tcb) : "a `minimum_tcb` in the session",
         yaml_of(tcb), with_variant(service, measurement + ", minimum_tcb: " + yaml_of(tcb))});
  }
  return out;
}

}  // namespace

std::vector<Denial> check_snp(const Session& session, const Service& service,
                              const attestation::Verdict& verdict) {
  const SnpFacts& facts = *verdict.snp;
  std::vector<Denial> out;
  Listed listed;
  bool measured = false;
  for (const AttestationVariant& variant : service.attestation) {
    if (!variant.snp) continue;
    if (!lists(*variant.snp, facts.measurement)) {
      listed.add(variant.snp->measurements);
      continue;
    }
    std::vector<Denial> reasons = against(*variant.snp, service, session.security, facts);
    if (reasons.empty() || !measured) out = std::move(reasons);
    measured = true;
    if (out.empty()) break;
  }
  if (!measured) {
    const std::string got = to_hex(facts.measurement);
    out.push_back({"measurement", listed.text("no SEV-SNP machine"), got,
                   with_variant(service, "measurement: [" + got + "]")});
  }
  const bool movable = facts.migration_agent || (facts.policy >> 18 & 1) != 0;
  if (movable && !session.security.tolerates(Toleration::InsecureConfiguration)) {
    out.push_back(may_migrate("migration agent", tolerate_line("insecure-configuration")));
  }
  return out;
}

}  // namespace cloister::policy
