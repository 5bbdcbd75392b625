// SHA-256, HMAC-SHA-256 and HKDF-SHA-256, the same calls inside the kernel and outside.
// Host: libcrypto. Kernel: libcrypto's block function alone (no allocation, no libc), see sha256_kernel.cpp.
// Sources: FIPS 180-4, RFC 2104, RFC 5869.
#pragma once

#include <initializer_list>

#include "base/bytes.h"
#include "base/secret.h"

namespace cloister::crypto {

using Digest = ByteArray<32>;

// Incremental. Not thread-safe; copying forks the state.
class Sha256 {
 public:
  Sha256();
  ~Sha256() { wipe(this, sizeof(*this)); }
  Sha256& update(ByteView data);
  Digest finish();  // once; afterwards the object must not be used

 private:
  uint32_t state_[8];
  uint64_t length_ = 0;  // bytes so far
  uint8_t block_[64];
};

Digest sha256(ByteView data);
Digest sha256(std::initializer_list<ByteView> parts);
Digest hmac_sha256(ByteView key, std::initializer_list<ByteView> parts);
// out.size() <= 255 * 32. Salt may be empty (RFC 5869: then 32 zero bytes).
void hkdf_sha256(ByteView key, ByteView salt, ByteView info, MutableByteView out);

}  // namespace cloister::crypto
