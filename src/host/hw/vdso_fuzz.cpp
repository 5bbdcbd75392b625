// The vDSO is the kernel's, and still bytes that are only as good as who made them.
#include "host/hw/vdso.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const cloister::ByteView image(data, size);
  const auto symbol = cloister::host::find_vdso_symbol(image, "__vdso_sgx_enter_enclave");
  if (symbol.ok() && (symbol->offset > size || symbol->size > size - symbol->offset)) __builtin_trap();
  (void)cloister::host::find_entry(image, 0x1000);
  return 0;
}
