// Base64 and base32 (RFC 4648, sections 4 to 6) and PEM (RFC 7468), strict and without OpenSSL, so that one
// parser with known limits serves every place that reads such text. Not for private keys: these stay in
// SecretBytes (keypair.h).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace cloister::crypto {

std::string base64_encode(ByteView bytes);
// Canonical only: padding required, unused bits zero, no white space. Otherwise Malformed.
Result<Bytes> base64_decode(std::string_view text);
// URL alphabet without padding (RFC 4648, section 5), as JWS uses it.
std::string base64url_encode(ByteView bytes);
Result<Bytes> base64url_decode(std::string_view text);
// Without padding when `pad` is false.
std::string base32_encode(ByteView bytes, bool pad);
// What people copy from one program to another: either case, with whole padding or none; unused bits zero,
// nothing between. Otherwise Malformed.
Result<Bytes> base32_decode(std::string_view text);

struct PemBlock {
  std::string label;  // "CERTIFICATE"
  Bytes content;      // the decoded DER
};

// Lines of 64 characters, ends with a line feed.
std::string pem_encode(std::string_view label, ByteView content);
// All blocks in order; text between blocks is skipped, CRLF and NUL at the end are accepted (Intel's chains
// have them). Malformed when a block is broken or there are more than `max_blocks`; an empty list is not an
// error.
Result<std::vector<PemBlock>> pem_decode(std::string_view text, size_t max_blocks = 16);

}  // namespace cloister::crypto
