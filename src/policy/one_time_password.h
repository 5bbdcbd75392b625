// Time-based one-time passwords (RFC 6238: HMAC-SHA-1, six digits, steps of 30 s from 1970), as every
// authenticator makes them. Pure functions: that a step counts only once is the service's to remember.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/secret.h"

namespace cloister::policy {

inline constexpr int64_t kPasswordStep = 30;      // seconds
inline constexpr size_t kMinPasswordSecret = 16;  // bytes: RFC 4226, requirement 6

// The bytes of a secret in base32, as authenticators take it. Malformed: not base32, or less than
// kMinPasswordSecret.
Result<SecretBytes> password_secret(std::string_view base32);

std::string password_at(ByteView secret, int64_t step);
// The step whose password this is: the one at `now` (seconds since 1970), or the one before or after it,
// because clocks differ and people are slow (RFC 6238, section 5.2). Compared in constant time.
std::optional<int64_t> password_step(ByteView secret, std::string_view password, int64_t now);

// Which steps were used: none counts twice (RFC 6238, section 5.2). Bounded: the oldest become a floor below
// which nothing counts any more, so a clock that is set back makes no step good again.
struct UsedSteps {
  static constexpr size_t kLimit = 16;
  int64_t floor = -1;
  std::vector<int64_t> steps;  // above the floor, ascending
  bool use(int64_t step);      // false: used before
};

}  // namespace cloister::policy
