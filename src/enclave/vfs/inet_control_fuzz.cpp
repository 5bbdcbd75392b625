// Ancillary data as the host hands them over. What is taken from them says the same when it is read again.
#include "enclave/vfs/inet_options.h"
#include "fuzz_end.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cloister;
  const auto parts = enclave::parse_control(ByteView(data, size));
  const auto again = enclave::parse_control(enclave::pack_control(parts));
  if (again.size() != parts.size()) __builtin_trap();
  for (size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].type != again[i].type || parts[i].body != again[i].body) __builtin_trap();
  }
  if (!parts.empty()) fuzz::reached_the_end();
  return 0;
}
