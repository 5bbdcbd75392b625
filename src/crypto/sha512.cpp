#include "crypto/sha512.h"

#include <openssl/sha.h>

namespace cloister::crypto {

ByteArray<64> sha512(ByteView data) {
  ByteArray<64> digest;
  CLOISTER_CHECK(::SHA512(data.data(), data.size(), digest.data()) != nullptr);
  return digest;
}

}  // namespace cloister::crypto
