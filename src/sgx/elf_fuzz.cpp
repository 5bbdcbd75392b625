#include "sgx/elf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = cloister::sgx::parse_elf({data, size}, "input");
  if (file.ok()) {
    static_cast<void>(file->sections());
    static_cast<void>(file->symbols(file->sections()));
  }
  return 0;
}
