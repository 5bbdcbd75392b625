#include "base/result.h"

#ifndef CLOISTER_KERNEL
#include <cstdio>
#include <cstdlib>
#endif

namespace cloister {

std::string_view code_name(Code code) {
  switch (code) {
    case Code::InvalidArgument:
      return "invalid argument";
    case Code::NotFound:
      return "not found";
    case Code::Denied:
      return "denied";
    case Code::Malformed:
      return "malformed";
    case Code::Integrity:
      return "integrity";
    case Code::Unavailable:
      return "unavailable";
    case Code::Unsupported:
      return "unsupported";
    case Code::Internal:
      return "internal";
  }
  return "unknown";
}

#ifndef CLOISTER_KERNEL  // the kernel has its own: it ends the enclave (enclave/panic.cpp)
void panic(const char* file, int line, const char* what) {
  std::fprintf(stderr, "cloister: bug at %s:%d: %s\n", file, line, what);
  std::abort();
}
#endif

}  // namespace cloister
