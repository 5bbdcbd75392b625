// SHA-512 (FIPS 180-4), host and agent only: it fills the 64 bytes of an enclave report's REPORTDATA.
#pragma once

#include "base/bytes.h"

namespace cloister::crypto {

ByteArray<64> sha512(ByteView data);

}  // namespace cloister::crypto
