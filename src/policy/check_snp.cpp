#include "policy/check_snp.h"

#include <algorithm>

#include "policy/denials.h"

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

// Both when the machine was started and now: what was old at the start may have been changed then. The
// committed numbers are no lower than those reported now (in_order).
SnpTcb lowest(const SnpFacts& facts) {
  const SnpTcb &a = facts.reported_tcb, &b = facts.launch_tcb;
  return {std::min(a.fmc, b.fmc), std::min(a.boot_loader, b.boot_loader), std::min(a.tee, b.tee),
          std::min(a.snp, b.snp), std::min(a.microcode, b.microcode)};
}

bool at_least(const SnpTcb& tcb, const SnpTcb& minimum) {
  return tcb.fmc >= minimum.fmc && tcb.boot_loader >= minimum.boot_loader && tcb.tee >= minimum.tee &&
         tcb.snp >= minimum.snp && tcb.microcode >= minimum.microcode;
}

// Without AUTHOR_KEY_EN the report names no author key, whatever stands in its place.
ByteArray<48> author_key(const SnpFacts& facts) {
  return facts.author_key_enabled ? facts.author_key_digest : ByteArray<48>{};
}

std::string variant_of(const Service& service, const SnpFactor& factor) {
  std::string out;
  const auto list = [&](std::string_view key, const auto& values) {
    if (values.empty()) return;
    out += (out.empty() ? "" : ", ") + std::string(key) + ": [" + to_hex(values.front()) + "]";
  };
  list("measurement", factor.measurements);
  list("host_data", factor.host_data);
  list("id_key_digest", factor.id_key_digests);
  list("author_key_digest", factor.author_key_digests);
  if (factor.vmpl != 0) out += ", vmpl: " + std::to_string(factor.vmpl);
  if (factor.minimum_tcb) out += ", minimum_tcb: " + yaml_of(*factor.minimum_tcb);
  if (factor.guest_policy) out += ", guest_policy: \"" + attestation::hex_bits(*factor.guest_policy) + "\"";
  return with_variant(service, out);
}

// What all variants are held against.
struct Asking {
  const Service& service;
  const Security& security;
  const SnpFacts& facts;
  std::vector<ByteArray<48>> measurements;  // in every variant: what an owner with another one is shown
};

// One variant against the machine. A denial's suggestion mends its own fault and those before it, so that the
// last one allows the machine, and no one grants more than what its owner has read about until there.
class Variant {
 public:
  Variant(const SnpFactor& factor, const Asking& asking)
      : factor_(factor), mended_(factor), asking_(asking), facts_(asking.facts) {}

  std::vector<Denial> denials() {
    check_identity();
    check_level();
    check_firmware();
    check_policy();
    return std::move(out_);
  }

 private:
  void deny(std::string rule, std::string expected, std::string actual) {
    const bool helpless = facts_.vmpl > 3;  // no session allows it
    out_.push_back({std::move(rule), std::move(expected), std::move(actual),
                    helpless ? "" : variant_of(asking_.service, mended_)});
  }

  // One suggestion for all that says which machine it is, at the last of them.
  void check_identity() {
    const int wrong = int{!holds(factor_.measurements, facts_.measurement)} +
                      int{!holds(factor_.host_data, facts_.host_data)} +
                      int{!holds(factor_.id_key_digests, facts_.id_key_digest)} +
                      int{!holds(factor_.author_key_digests, author_key(facts_))};
    shown_ = Listed::shown_of(static_cast<size_t>(wrong));
    one_of("measurement", factor_.measurements, mended_.measurements, facts_.measurement,
           asking_.measurements);
    one_of("host-data", factor_.host_data, mended_.host_data, facts_.host_data, factor_.host_data);
    one_of("id-key-digest", factor_.id_key_digests, mended_.id_key_digests, facts_.id_key_digest,
           factor_.id_key_digests);
    one_of("author-key-digest", factor_.author_key_digests, mended_.author_key_digests, author_key(facts_),
           factor_.author_key_digests);
    for (size_t i = 0; i + 1 < out_.size(); ++i) out_[i].suggestion.clear();
  }

  template <size_t N>
  void one_of(std::string_view rule, const std::vector<ByteArray<N>>& wanted,
              std::vector<ByteArray<N>>& mended, const ByteArray<N>& actual,
              const std::vector<ByteArray<N>>& shown) {
    if (!wanted.empty()) mended = {actual};
    if (holds(wanted, actual)) return;
    Listed listed(shown_);
    listed.add(shown);
    deny(std::string(rule), listed.text(""), to_hex(actual));
  }

  void check_level() {
    if (facts_.vmpl > 3)
      return deny("vmpl", "a report that the machine asked for", "one that its host asked for");
    if (facts_.vmpl <= factor_.vmpl) return;
    mended_.vmpl = facts_.vmpl;
    deny("vmpl", "level " + std::to_string(factor_.vmpl) + " or more privileged",
         "level " + std::to_string(facts_.vmpl));
  }

  void check_firmware() {
    const SnpTcb tcb = lowest(facts_);
    if (factor_.minimum_tcb && at_least(tcb, *factor_.minimum_tcb)) return;
    if (asking_.security.tolerates(Toleration::OutdatedTcb)) return;
    mended_.minimum_tcb = tcb;
    deny("tcb-status",
         factor_.minimum_tcb ? "at least " + yaml_of(*factor_.minimum_tcb) : "a `minimum_tcb` in the session",
         yaml_of(tcb));
  }

  void check_policy() {
    if (!factor_.guest_policy || *factor_.guest_policy == facts_.policy) return;
    if ((facts_.policy & snp_policy::kAlwaysOne) == 0) return;  // has one denial, and no session allows it
    mended_.guest_policy = facts_.policy;
    deny("guest-policy", attestation::hex_bits(*factor_.guest_policy), attestation::hex_bits(facts_.policy));
  }

  const SnpFactor& factor_;
  SnpFactor mended_;  // with one value in each list: this machine's
  const Asking& asking_;
  const SnpFacts& facts_;
  size_t shown_ = Listed::kShown;  // values of each list
  std::vector<Denial> out_;
};

std::vector<Denial> against_variants(const Service& service, Asking& asking) {
  for (const AttestationVariant& variant : service.attestation) {
    if (!variant.snp) continue;
    const std::vector<ByteArray<48>>& own = variant.snp->measurements;
    asking.measurements.insert(asking.measurements.end(), own.begin(), own.end());
  }
  auto nearest = against_nearest(
      service, &AttestationVariant::snp,
      [&](const SnpFactor& factor) { return holds(factor.measurements, asking.facts.measurement); },
      [&](const SnpFactor& factor) { return Variant(factor, asking).denials(); });
  if (nearest) return std::move(*nearest);
  SnpFactor own;
  own.measurements = {asking.facts.measurement};
  own.minimum_tcb = lowest(asking.facts);
  std::vector<Denial> reasons = Variant(own, asking).denials();
  const std::string got = to_hex(asking.facts.measurement);
  const bool alone = reasons.empty();  // else the last of the others says it all
  reasons.insert(reasons.begin(),
                 {"measurement", "no SEV-SNP machine", got, alone ? variant_of(service, own) : ""});
  return reasons;
}

// AMD's firmware reports no more than it has committed to, and commits to no more than what runs.
bool in_order(const SnpFacts& facts) {
  return at_least(facts.committed_tcb, facts.reported_tcb) &&
         at_least(facts.current_tcb, facts.committed_tcb);
}

}  // namespace

std::vector<Denial> check_snp(const Session& session, const Service& service,
                              const attestation::Verdict& verdict) {
  const SnpFacts& facts = *verdict.snp;
  Asking asking{service, session.security, facts, {}};
  std::vector<Denial> out = against_variants(service, asking);
  if (!in_order(facts)) {
    out.push_back({"tcb-order", "reported <= committed <= current firmware",
                   "reported " + yaml_of(facts.reported_tcb) + ", committed " + yaml_of(facts.committed_tcb) +
                       ", current " + yaml_of(facts.current_tcb),
                   ""});
  }
  if ((facts.policy & snp_policy::kAlwaysOne) == 0)
    out.push_back(
        {"guest-policy", "bit 17 set, as in every guest's policy", attestation::hex_bits(facts.policy), ""});
  const bool movable = facts.migration_agent || (facts.policy & snp_policy::kMigrationAgent) != 0;
  if (movable && !session.security.tolerates(Toleration::InsecureConfiguration)) {
    out.push_back(may_migrate("migration agent"));
  }
  return out;
}

}  // namespace cloister::policy
