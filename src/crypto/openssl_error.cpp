#include "crypto/openssl_error.h"

#include <openssl/err.h>

namespace cloister::crypto {

Error openssl_error(Code code, std::string_view what) {
  std::string text(what);
  std::string_view separator = ": ";
  for (unsigned long number = ERR_get_error(); number != 0; number = ERR_get_error()) {
    const char* reason = ERR_reason_error_string(number);
    text.append(separator).append(reason != nullptr ? reason : "unknown reason");
    separator = "; ";
    if (text.size() > 400) break;
  }
  ERR_clear_error();
  return Error(code, std::move(text));
}

void clear_openssl_errors() { ERR_clear_error(); }

}  // namespace cloister::crypto
