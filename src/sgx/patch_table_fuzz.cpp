#include <cstdlib>

#include "sgx/patch_table.h"

// What decodes is canonical: it encodes to the same bytes.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cloister;
  const auto table = sgx::decode_patch_table({data, size});
  if (!table.ok()) return 0;
  const auto bytes = sgx::encode_patch_table(*table);
  if (!bytes.ok() || bytes->size() != size || !std::equal(bytes->begin(), bytes->end(), data)) std::abort();
  return 0;
}
