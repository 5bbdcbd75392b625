#include "sgx/manifest.h"

// A manifest that decodes must encode to the same bytes: there is one encoding.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const cloister::ByteView input(data, size);
  const auto manifest = cloister::sgx::decode_manifest(input);
  if (manifest.ok()) {
    const cloister::Bytes again = cloister::sgx::encode_manifest(*manifest);
    CLOISTER_CHECK(cloister::equal_constant_time(again, input));
  }
  return 0;
}
