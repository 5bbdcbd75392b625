#include "policy/check_tdx.h"

#include <algorithm>

#include "policy/denials.h"

namespace cloister::policy {
namespace {

using attestation::Verdict;
using Register = std::optional<ByteArray<48>>;  // empty: the report does not say
using Registers = std::array<Register, kTdxRegisterCount>;

constexpr size_t kManyRegisters = 4;
constexpr TdxRegister kLastOfBoot = kTdxRtmr2;  // what programs measure comes after it

Registers registers_of(const Verdict& v) {
  const auto runtime = [&](size_t i) { return i < v.rtmrs.size() ? Register(v.rtmrs[i]) : Register(); };
  Registers out;
  out[kTdxMrtd] = v.mrtd;
  for (const TdxRegister rtmr : {kTdxRtmr0, kTdxRtmr1, kTdxRtmr2, kTdxRtmr3})
    out[rtmr] = runtime(rtmr - kTdxRtmr0);
  out[kTdxMrSeam] = v.mr_seam;
  out[kTdxMrSignerSeam] = v.mr_signer_seam;
  out[kTdxMrConfigId] = v.mr_config_id;
  out[kTdxMrOwner] = v.mr_owner;
  out[kTdxMrOwnerConfig] = v.mr_owner_config;
  out[kTdxMrServiceTd] = v.mr_service_td;
  return out;
}

std::string text_of(const Register& value, size_t digits) {
  if (!value) return "a report of TD 1.0, which does not say";
  Listed one(1, digits);
  one.add(std::vector{*value});
  return one.text("");
}

bool register_holds(const std::vector<ByteArray<48>>& wanted, const Register& actual) {
  return wanted.empty() || (actual && holds(wanted, *actual));
}

// The factors that `factor` has, with this machine's registers. Empty: the machine has no value for one of
// them, and a variant without that one would allow more.
std::string variant_for(const Service& service, const TdxFactor& factor, const Registers& actual) {
  std::string yaml;
  for (size_t i = 0; i < kTdxRegisterCount; ++i) {
    if (factor.registers[i].empty()) continue;
    if (!actual[i]) return {};
    yaml += (yaml.empty() ? "" : ", ") + std::string(kTdxRegisters[i]) + ": [" + to_hex(*actual[i]) + "]";
  }
  if (factor.td_attributes)
    yaml += ", td_attributes: \"" + attestation::hex_bits(*factor.td_attributes) + "\"";
  return with_variant(service, yaml);
}

// What all variants are held against.
struct Asking {
  const Service& service;
  const Security& security;
  Registers actual;
  uint64_t attributes;
  std::vector<ByteArray<48>> firmwares;  // MRTD in every variant: what an owner with another one is shown
};

// One variant against the machine. As of SEV-SNP machines a denial's suggestion mends its own fault and those
// before it.
class Variant {
 public:
  Variant(const TdxFactor& factor, const Asking& asking)
      : factor_(factor),
        mended_(factor),
        asking_(asking),
        tolerant_(asking.security.tolerates(Toleration::InsecureConfiguration)) {}

  // Register by register, MRTD first; then attributes and migration.
  std::vector<Denial> denials() {
    check_registers();
    check_attributes();
    check_migration();
    return std::move(out_);
  }

 private:
  void deny(std::string rule, std::string expected, std::string actual, std::string suggestion) {
    out_.push_back({std::move(rule), std::move(expected), std::move(actual), std::move(suggestion)});
  }

  std::string suggestion() const { return variant_for(asking_.service, mended_, asking_.actual); }

  // One suggestion for all registers, at the last of them: an owner who takes it takes them together.
  void check_registers() {
    std::vector<size_t> wrong;
    for (size_t i = 0; i < kTdxRegisterCount; ++i) {
      if (!register_holds(factor_.registers[i], asking_.actual[i])) wrong.push_back(i);
    }
    // Of many their beginnings, so that there is room for the suggestion, where the machine's are whole.
    const size_t digits = wrong.size() <= kManyRegisters ? std::string::npos : 16;
    for (const size_t i : wrong) {
      Listed wanted(Listed::shown_of(wrong.size()), digits);
      wanted.add(i == kTdxMrtd ? asking_.firmwares : factor_.registers[i]);
      deny(std::string(kTdxRegisters[i]), wanted.text(""), text_of(asking_.actual[i], digits),
           i == wrong.back() ? suggestion() : "");
    }
  }

  void check_attributes() {
    std::string wanted;
    if (factor_.td_attributes) {
      if (*factor_.td_attributes == asking_.attributes) return;
      wanted = attestation::hex_bits(*factor_.td_attributes);
    } else {
      if (td_attributes::sound(asking_.attributes) || tolerant_) return;
      wanted = "SEPT_VE_DISABLE (bit 28), and no bit of unknown meaning";
    }
    mended_.td_attributes = asking_.attributes;
    deny("td-attributes", std::move(wanted), attestation::hex_bits(asking_.attributes), suggestion());
  }

  // Whoever holds the migration TD decides where the machine goes next. No TD yet is no answer: one may come.
  void check_migration() {
    if ((asking_.attributes & td_attributes::kMigratable) == 0 || tolerant_) return;
    const Register& mover = asking_.actual[kTdxMrServiceTd];
    if (!mover || *mover == ByteArray<48>{}) {
      out_.push_back(may_migrate("MIGRATABLE; the report names no service TD"));
      return;
    }
    if (!factor_.registers[kTdxMrServiceTd].empty()) return;  // judged as a register
    mended_.registers[kTdxMrServiceTd].push_back(*mover);
    Denial movable = may_migrate("MIGRATABLE; by the service TD " + to_hex(*mover));
    movable.suggestion = suggestion();
    movable.tolerations.clear();
    out_.push_back(std::move(movable));
  }

  const TdxFactor& factor_;
  TdxFactor mended_;
  const Asking& asking_;
  const bool tolerant_;
  std::vector<Denial> out_;
};

// Firmware and what it loaded, of a machine that the session has nothing to go by for.
TdxFactor modelled_on(const Registers& actual) {
  TdxFactor out;
  for (size_t i = kTdxMrtd; i <= kLastOfBoot; ++i) {
    if (actual[i]) out.registers[i].push_back(*actual[i]);
  }
  return out;
}

}  // namespace

std::vector<Denial> check_tdx(const Session& session, const Service& service, const Verdict& verdict) {
  Asking asking{service, session.security, registers_of(verdict), verdict.td_attributes, {}};
  for (const AttestationVariant& variant : service.attestation) {
    if (!variant.tdx) continue;
    const std::vector<ByteArray<48>>& mrtds = variant.tdx->registers[kTdxMrtd];
    asking.firmwares.insert(asking.firmwares.end(), mrtds.begin(), mrtds.end());
  }
  auto nearest = against_nearest(
      service, &AttestationVariant::tdx,
      [&](const TdxFactor& factor) { return holds(factor.registers[kTdxMrtd], verdict.mrtd); },
      [&](const TdxFactor& factor) { return Variant(factor, asking).denials(); });
  if (nearest) return std::move(*nearest);
  const TdxFactor own = modelled_on(asking.actual);
  std::vector<Denial> reasons = Variant(own, asking).denials();
  reasons.insert(reasons.begin(),
                 {"mrtd", "no TDX machine", to_hex(verdict.mrtd), variant_for(service, own, asking.actual)});
  return reasons;
}

}  // namespace cloister::policy
