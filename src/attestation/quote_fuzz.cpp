#include "attestation/quote.h"

#include "fuzz_end.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto quote = cloister::attestation::parse_quote({data, size});
  if (!quote.ok()) return 0;
  CLOISTER_CHECK(quote->signed_part.size() < size);
  cloister::fuzz::reached_the_end();
  return 0;
}
