#include "attestation/frames.h"

namespace cloister::attestation {

Result<Frame> read_frame(crypto::TlsStream& stream, Deadline deadline) {
  uint8_t head[5];
  TRY(stream.read_exact(head, deadline));
  const size_t limit = payload_limit(head[0]);
  if (limit == 0) return Error(Code::Malformed, "attestation message of an unknown type");
  const uint32_t size = load_le<uint32_t>(head + 1);
  if (size > limit) return Error(Code::Malformed, "attestation message is too long");
  Bytes payload(size);
  const Result<void> read = payload.empty() ? Result<void>() : stream.read_exact(payload, deadline);
  Frame frame{static_cast<MessageType>(head[0]), SecretBytes(std::move(payload))};
  if (!read.ok()) return Error(read.error());
  return frame;
}

Result<void> write_frame(crypto::TlsStream& stream, MessageType type, ByteView payload, Deadline deadline) {
  CLOISTER_CHECK(payload.size() <= payload_limit(static_cast<uint8_t>(type)));
  // Small messages leave as one TLS record; a configuration is not copied once more.
  uint8_t head[5];
  head[0] = static_cast<uint8_t>(type);
  store_le(head + 1, static_cast<uint32_t>(payload.size()));
  if (payload.size() > 2048) {
    TRY(stream.write_all(head, deadline));
    return stream.write_all(payload, deadline);
  }
  uint8_t together[sizeof(head) + 2048];
  std::memcpy(together, head, sizeof(head));
  if (!payload.empty()) std::memcpy(together + sizeof(head), payload.data(), payload.size());
  const Result<void> written = stream.write_all(ByteView(together, sizeof(head) + payload.size()), deadline);
  wipe(together, sizeof(together));
  if (!written.ok()) return Error(written.error());
  return {};
}

}  // namespace cloister::attestation
