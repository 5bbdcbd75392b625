// What the judges of enclaves and machines share: comparing, choosing among variants, the words of denials.
// Inside of policy.
#pragma once

#include <algorithm>

#include "policy/check.h"

namespace cloister::policy {

// Any of `wanted`; an empty list is no factor.
template <size_t N>
bool holds(const std::vector<ByteArray<N>>& wanted, const ByteArray<N>& actual) {
  return wanted.empty() || std::find(wanted.begin(), wanted.end(), actual) != wanted.end();
}

// What `judge` has against the nearest of the service's variants of one kind: one that is `right` (of the
// machine's measurement) before others, then the one with the fewest denials. Empty: none is of that kind.
template <class Factor, class Right, class Judge>
std::optional<std::vector<Denial>> against_nearest(const Service& service,
                                                   std::optional<Factor> AttestationVariant::*kind,
                                                   Right right, Judge judge) {
  std::optional<std::vector<Denial>> nearest;
  bool nearest_right = false;
  for (const AttestationVariant& variant : service.attestation) {
    const std::optional<Factor>& factor = variant.*kind;
    if (!factor) continue;
    const bool this_right = right(*factor);
    if (nearest_right && !this_right) continue;
    std::vector<Denial> denials = judge(*factor);
    if (nearest && this_right == nearest_right && denials.size() >= nearest->size()) continue;
    nearest = std::move(denials);
    nearest_right = this_right;
  }
  return nearest;
}

// "A, B and 3 more", or of each value only its first digits.
class Listed {
 public:
  explicit Listed(size_t shown = kShown, size_t digits = std::string::npos)
      : shown_(shown), digits_(digits) {}
  template <size_t N>
  void add(const std::vector<ByteArray<N>>& values) {
    for (const ByteArray<N>& value : values) {
      if (++count_ > shown_) continue;
      const std::string hex = to_hex(value);
      text_ += (text_.empty() ? "" : ", ") + hex.substr(0, digits_) + (hex.size() > digits_ ? "..." : "");
    }
  }
  // `none`: where nothing is listed.
  std::string text(std::string_view none) const {
    if (count_ == 0) return std::string(none);
    return count_ > shown_ ? text_ + " and " + std::to_string(count_ - shown_) + " more" : text_;
  }

  static constexpr size_t kShown = 8;
  // Of each of `lists` that are denied together. The more there are the less of what the owner has at hand,
  // so that one event holds them all.
  static size_t shown_of(size_t lists) { return std::max(kShown / std::max(lists, size_t{1}), size_t{1}); }

 private:
  const size_t shown_, digits_;
  std::string text_;
  size_t count_ = 0;
};

// The YAML of suggestions.
inline std::string in_service(const Service& service, const std::string& keys) {
  return "services: [{name: " + service.name + ", " + keys + "}]";
}
// A variant of `attestation`. A service cannot have that key and `mrenclaves`, so one that is written with
// the latter is shown both ways in one, unless its list is long.
inline std::string with_variant(const Service& service, const std::string& factors) {
  std::string own;
  if (service.by_mrenclaves && service.attestation.size() == 1 &&
      service.attestation[0].mrenclaves.size() <= Listed::kShown) {
    Listed listed;
    listed.add(service.attestation[0].mrenclaves);
    own = "{mrenclave: [" + listed.text("") + "]}, ";
  }
  return in_service(service, "attestation: [" + own + "{" + factors + "}]");
}
// What is allowed when all of `needed` is tolerated.
inline Denial tolerable(std::string rule, std::string expected, std::string actual,
                        std::vector<Toleration> needed) {
  std::string names;
  for (const Toleration toleration : needed)
    names += (names.empty() ? "" : ", ") + std::string(toleration_name(toleration));
  return {std::move(rule), std::move(expected), std::move(actual),
          "security: {attestation: {tolerate: [" + names + "]}}", std::move(needed)};
}

// Of a machine that another one may take over.
inline Denial may_migrate(const std::string& how) {
  return tolerable("migration", "a machine that stays where it is",
                   "another machine may take it over (" + how + ")", {Toleration::InsecureConfiguration});
}

}  // namespace cloister::policy
