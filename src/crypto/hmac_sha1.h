// HMAC-SHA-1 (RFC 2104), for one-time passwords only: what people's authenticators compute (RFC 6238). The
// attacks on SHA-1 are collisions, which HMAC does not rest on; nothing else here uses it.
#pragma once

#include "base/bytes.h"

namespace cloister::crypto {

ByteArray<20> hmac_sha1(ByteView key, ByteView message);

}  // namespace cloister::crypto
