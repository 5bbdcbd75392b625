#include "cli/commands.h"

#include <cstdio>

#include "base/text.h"

namespace cloister::cli {

int exit_code_of(const Error& error) {
  switch (error.code()) {
    case Code::InvalidArgument:
      return kUsage;
    case Code::Integrity:
      return kIntegrity;
    case Code::Denied:
      return kRefused;
    case Code::Unavailable:
      return kUnavailable;
    case Code::NotFound:
    case Code::Malformed:
    case Code::Unsupported:
    case Code::Internal:
      return kFailed;
  }
  return kFailed;
}

int report(const Error& error) {
  std::fprintf(stderr, "cloister: %s\n", printable(error.message()).c_str());
  if (!error.hint().empty()) std::fprintf(stderr, "  %s\n", printable(error.hint()).c_str());
  return exit_code_of(error);
}

}  // namespace cloister::cli
