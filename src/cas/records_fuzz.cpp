// Every decoder of rows and journal entries: no input may crash it, and what decodes encodes to the same
// number of bytes, in the same format.
#include "cas/journal.h"
#include "cas/records.h"

using namespace cloister;
using namespace cloister::cas;

namespace {

template <class Record>
void check(const Result<Record>& decoded, ByteView input) {
  if (!decoded.ok()) return;
  const SecretBytes encoded = encode(*decoded);
  const uint8_t format = encoded.expose()[0];
  if (format == input[0]) CLOISTER_CHECK(ByteView(encoded.expose()).size() == input.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView input(data, size);
  check(decode_session(input), input);
  check(decode_version(input), input);
  check(decode_secret(input), input);
  check(decode_volume(input), input);
  check(decode_instance(input), input);
  check(decode_unleased(input), input);
  check(decode_uploader(input), input);
  check(decode_password(input), input);
  check(decode_singleton(input), input);
  const Result<JournalPayload> payload = decode_payload(input);
  if (payload.ok()) CLOISTER_CHECK(encode_payload(*payload).value().size() == size);
  return 0;
}
