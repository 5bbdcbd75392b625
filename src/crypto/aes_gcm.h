// AES-256-GCM through libipsec-mb, on the host and in the enclave kernel (SP 800-38D, 96-bit nonces, 16-byte
// tags). The caller guarantees that a nonce never repeats under a key.
#pragma once

#include "base/bytes.h"
#include "base/secret.h"

namespace cloister::crypto {

inline constexpr size_t kGcmTagSize = 16;
inline constexpr size_t kGcmNonceSize = 12;
using GcmTag = ByteArray<kGcmTagSize>;
using GcmNonce = ByteArray<kGcmNonceSize>;

// An expanded key. Thread-safe once constructed. Wiped on destruction.
class Aes256Gcm {
 public:
  explicit Aes256Gcm(const Key256& key);
  ~Aes256Gcm();
  Aes256Gcm(const Aes256Gcm&) = delete;
  Aes256Gcm& operator=(const Aes256Gcm&) = delete;

  // `out` has plain.size() bytes and may be `plain` itself.
  void seal(const GcmNonce& nonce, ByteView aad, ByteView plain, MutableByteView out, GcmTag& tag) const;

  // Returns false and wipes `out` when the tag does not match; no unverified plaintext remains.
  // `cipher` is read exactly once from the caller's view of it: it must be memory the host cannot change
  // meanwhile, or `out` must not be used on false (it is wiped).
  [[nodiscard]] bool open(const GcmNonce& nonce, ByteView aad, ByteView cipher, const GcmTag& tag,
                          MutableByteView out) const;

 private:
  struct Expanded;
  Expanded* expanded_;
};

}  // namespace cloister::crypto
