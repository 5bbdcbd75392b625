// Random bytes fit for keys. Host: getrandom(2). Kernel: RDRAND-seeded DRBG, never the host.
#pragma once

#include "base/bytes.h"

namespace cloister::crypto {

void random_bytes(MutableByteView out);  // never fails; aborts when the machine has no entropy source

template <size_t N>
ByteArray<N> random_array() {
  ByteArray<N> out;
  random_bytes(out);
  return out;
}

}  // namespace cloister::crypto
