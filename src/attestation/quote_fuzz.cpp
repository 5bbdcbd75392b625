#include "attestation/quote.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto quote = cloister::attestation::parse_quote({data, size});
  if (quote.ok()) CLOISTER_CHECK(quote->signed_part.size() < size);
  return 0;
}
