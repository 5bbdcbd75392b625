// OpenSSL reports through a per-thread queue that nobody drains by accident. This turns the queue into one
// Error.
#pragma once

#include <string_view>

#include "base/result.h"

namespace cloister::crypto {

// "what: reason; reason". Empties the calling thread's queue. Never contains key material (OpenSSL's texts do
// not).
Error openssl_error(Code code, std::string_view what);

// Before an operation whose result is read from the queue (SSL_get_error demands it).
void clear_openssl_errors();

}  // namespace cloister::crypto
