// Requests to rtnetlink, as any program may write them. The first 64 bytes are what the host says of an
// interface.
#include <cstring>

#include "enclave/vfs/interfaces.h"
#include "fuzz_end.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cloister;
  enclave::InterfaceRecord record{};
  if (size < sizeof(record)) return 0;
  std::memcpy(&record, data, sizeof(record));
  record.name[sizeof(record.name) - 1] = 0;  // as host::interfaces() leaves them
  record.hardware_size = static_cast<uint8_t>(record.hardware_size % (sizeof(record.hardware) + 1));
  const ByteView request(data + sizeof(record), size - sizeof(record));
  size_t answered = 0;
  for (const Bytes& piece : enclave::answer_route_request(request, 7, {record, record})) {
    for (size_t at = 0; at < piece.size(); ++answered) {
      if (piece.size() - at < 16) __builtin_trap();
      const auto length = load_le<uint32_t>(piece.data() + at);
      if (length < 16 || length > piece.size() - at || length % 4 != 0) __builtin_trap();
      at += length;
    }
  }
  if (answered > 2) fuzz::reached_the_end();
  return 0;
}
