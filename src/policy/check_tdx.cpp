#include "policy/check_tdx.h"

#include <algorithm>
#include <utility>

namespace cloister::policy {
namespace {

using attestation::Verdict;
using Register = std::optional<ByteArray<48>>;  // empty: the report does not say
using Registers = std::array<Register, std::size(kTdxRegisters)>;

constexpr size_t kMaxShown = 8;
constexpr size_t kTdxLastBoot = 3;  // rtmr2: what programs measure comes after it

// TD attributes (Intel TDX module ABI). The lowest byte is the debug rule's.
constexpr uint64_t kUnderDebug = 0xff;
constexpr uint64_t kNoExceptionsByHost = 1ull << 28;  // SEPT_VE_DISABLE
constexpr uint64_t kMigratable = 1ull << 29;
constexpr uint64_t kHarmless = 1ull << 30 | 1ull << 31 | 1ull << 63;  // PKS, KL, PERFMON
constexpr uint64_t kKnown = kUnderDebug | kNoExceptionsByHost | kMigratable | kHarmless;

// In the order of kTdxRegisters.
Registers registers_of(const Verdict& v) {
  const auto runtime = [&](size_t i) { return i < v.rtmrs.size() ? Register(v.rtmrs[i]) : Register(); };
  return {v.mrtd,           runtime(0),     runtime(1), runtime(2),        runtime(3),     v.mr_seam,
          v.mr_signer_seam, v.mr_config_id, v.mr_owner, v.mr_owner_config, v.mr_service_td};
}

std::string text_of(const Register& value) {
  return value ? to_hex(*value) : std::string("a report of TD 1.0, which does not say");
}

std::string attributes_text(uint64_t attributes) {
  uint8_t bytes[8];
  store_be(bytes, attributes);
  return to_hex(bytes);
}

bool holds(const std::vector<ByteArray<48>>& wanted, const Register& actual) {
  return wanted.empty() || (actual && std::find(wanted.begin(), wanted.end(), *actual) != wanted.end());
}

// "A, B and 3 more"
class Listed {
 public:
  void add(const std::vector<ByteArray<48>>& values) {
    for (const ByteArray<48>& value : values) {
      if (++count_ <= kMaxShown) text_ += (text_.empty() ? "" : ", ") + to_hex(value);
    }
  }
  std::string text() const {
    return count_ > kMaxShown ? text_ + " and " + std::to_string(count_ - kMaxShown) + " more" : text_;
  }

 private:
  std::string text_;
  size_t count_ = 0;
};

// The factors that `factor` has, with this machine's values.
std::string variant_for(const Service& service, const TdxFactor& factor, const Registers& actual,
                        uint64_t attributes) {
  std::string yaml;
  for (size_t i = 0; i < std::size(kTdxRegisters); ++i) {
    if (factor.registers[i].empty() || !actual[i]) continue;
    yaml += (yaml.empty() ? "" : ", ") + std::string(kTdxRegisters[i]) + ": [" + to_hex(*actual[i]) + "]";
  }
  if (factor.td_attributes) yaml += ", td_attributes: \"" + attributes_text(attributes) + "\"";
  return "services: [{name: " + service.name + ", attestation: [{" + yaml + "}]}]";
}

// One variant that has the machine's MRTD, against the machine.
class Variant {
 public:
  Variant(const TdxFactor& factor, const Service& service, const Security& security, const Registers& actual,
          uint64_t attributes)
      : factor_(factor), service_(service), security_(security), actual_(actual), attributes_(attributes) {}

  std::vector<Denial> denials() {
    for (size_t i = 0; i < std::size(kTdxRegisters); ++i) {
      if (holds(factor_.registers[i], actual_[i])) continue;
      Listed wanted;
      wanted.add(factor_.registers[i]);
      deny(std::string(kTdxRegisters[i]), wanted.text(), text_of(actual_[i]),
           actual_[i] ? changed(false, false) : "");
    }
    check_attributes();
    check_migration();
    return std::move(out_);
  }

 private:
  void deny(std::string rule, std::string expected, std::string actual, std::string suggestion) {
    out_.push_back({std::move(rule), std::move(expected), std::move(actual), std::move(suggestion)});
  }

  std::string changed(bool with_service_td, bool with_attributes) const {
    TdxFactor more = factor_;
    if (with_service_td) more.registers[kTdxServiceTd].emplace_back();
    if (with_attributes) more.td_attributes = attributes_;
    return variant_for(service_, more, actual_, attributes_);
  }

  void check_attributes() {
    if (factor_.td_attributes) {
      if (*factor_.td_attributes == attributes_) return;
      return deny("td-attributes", attributes_text(*factor_.td_attributes), attributes_text(attributes_),
                  changed(false, true));
    }
    const bool sound = (attributes_ & kNoExceptionsByHost) != 0 && (attributes_ & ~kKnown) == 0;
    if (sound || security_.tolerates(Toleration::InsecureConfiguration)) return;
    deny("td-attributes", "SEPT_VE_DISABLE (bit 28), and no bit of unknown meaning",
         attributes_text(attributes_), changed(false, true));
  }

  // Whoever holds the migration TD decides where the machine goes next. No TD yet is no answer: one may come.
  void check_migration() {
    if ((attributes_ & kMigratable) == 0 || security_.tolerates(Toleration::InsecureConfiguration)) return;
    const std::vector<ByteArray<48>>& listed = factor_.registers[kTdxServiceTd];
    const Register& mover = actual_[kTdxServiceTd];
    const bool nobody = !mover || *mover == ByteArray<48>{};
    if (!nobody && !listed.empty()) return;  // judged as a register
    deny("migration", "a machine that stays where it is",
         "another machine may take it over (MIGRATABLE), service TD: " +
             (nobody ? "not named by the report" : to_hex(*mover)),
         nobody ? "security: {attestation: {tolerate: [insecure-configuration]}}" : changed(true, false));
  }

  const TdxFactor& factor_;
  const Service& service_;
  const Security& security_;
  const Registers& actual_;
  const uint64_t attributes_;
  std::vector<Denial> out_;
};

}  // namespace

std::vector<Denial> check_tdx(const Session& session, const Service& service, const Verdict& verdict) {
  const Registers actual = registers_of(verdict);
  std::optional<std::vector<Denial>> fewest;
  Listed listed;
  TdxFactor modelled_on;  // firmware and what it loaded, where the session has nothing to go by
  for (size_t i = kTdxMrtd; i <= kTdxLastBoot; ++i) modelled_on.registers[i].emplace_back();
  bool first = true;
  for (const AttestationVariant& variant : service.attestation) {
    if (!variant.tdx) continue;
    if (std::exchange(first, false)) modelled_on = *variant.tdx;
    if (!holds(variant.tdx->registers[kTdxMrtd], actual[kTdxMrtd])) {
      listed.add(variant.tdx->registers[kTdxMrtd]);
      continue;
    }
    std::vector<Denial> reasons =
        Variant(*variant.tdx, service, session.security, actual, verdict.td_attributes).denials();
    if (!fewest || reasons.size() < fewest->size()) fewest = std::move(reasons);
  }
  if (fewest) return std::move(*fewest);
  return {{"mrtd", listed.text().empty() ? "no TDX machine" : listed.text(), to_hex(verdict.mrtd),
           variant_for(service, modelled_on, actual, verdict.td_attributes)}};
}

}  // namespace cloister::policy
