#include "policy/one_time_password.h"

#include <algorithm>

#include "crypto/encoding.h"
#include "crypto/hmac_sha1.h"

namespace cloister::policy {

Result<SecretBytes> password_secret(std::string_view base32) {
  Result<Bytes> bytes = crypto::base32_decode(base32);
  if (!bytes.ok()) return Error(Code::Malformed, "a one-time password's secret is base32");
  SecretBytes secret(std::move(*bytes));
  if (secret.expose().size() < kMinPasswordSecret) {
    return Error(Code::Malformed,
                 "a one-time password's secret has at least 16 bytes (26 characters of base32)");
  }
  return secret;
}

// RFC 4226, section 5.3.
std::string password_at(ByteView secret, int64_t step) {
  uint8_t counter[8];
  for (int i = 0; i < 8; ++i) counter[i] = static_cast<uint8_t>(static_cast<uint64_t>(step) >> (56 - 8 * i));
  const ByteArray<20> mac = crypto::hmac_sha1(secret, ByteView(counter));
  const size_t offset = mac[19] & 15;
  uint32_t value = mac[offset] & 0x7f;
  for (size_t i = 1; i < 4; ++i) value = (value << 8) | mac[offset + i];
  const std::string digits = std::to_string(value % 1000000);
  return std::string(6 - digits.size(), '0') + digits;
}

std::optional<int64_t> password_step(ByteView secret, std::string_view password, int64_t now) {
  std::optional<int64_t> found;
  for (const int64_t offset : {-1, 0, 1}) {
    const int64_t step = now / kPasswordStep + offset;
    const std::string right = password_at(secret, step);
    if (equal_constant_time(as_bytes(right), as_bytes(password))) found = step;
  }
  return found;
}

bool UsedSteps::use(int64_t step) {
  const auto at = std::lower_bound(steps.begin(), steps.end(), step);
  if (step <= floor || (at != steps.end() && *at == step)) return false;
  steps.insert(at, step);
  if (steps.size() > kLimit) {
    floor = steps.front();
    steps.erase(steps.begin());
  }
  return true;
}

}  // namespace cloister::policy
