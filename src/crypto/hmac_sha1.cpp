#include "crypto/hmac_sha1.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace cloister::crypto {

ByteArray<20> hmac_sha1(ByteView key, ByteView message) {
  ByteArray<20> out;
  unsigned size = 0;
  CLOISTER_CHECK(::HMAC(::EVP_sha1(), key.data(), static_cast<int>(key.size()), message.data(),
                        message.size(), out.data(), &size) != nullptr);
  CLOISTER_CHECK(size == out.size());
  return out;
}

}  // namespace cloister::crypto
