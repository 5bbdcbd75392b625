// First byte: message type; the rest: its payload. What decodes must encode to the same bytes.
#include <algorithm>

#include "attestation/messages.h"

namespace {

using namespace cloister;
using namespace cloister::attestation;

const Bytes& plain(const Bytes& bytes) { return bytes; }
const Bytes& plain(const SecretBytes& bytes) { return bytes.expose(); }

template <class Message>
void check(const Result<Message>& message, ByteView payload) {
  if (message.ok()) CLOISTER_CHECK(std::ranges::equal(plain(encode(*message)), payload));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const ByteView payload(data + 1, size - 1);
  switch (static_cast<MessageType>(data[0])) {
    case MessageType::ServerHello:
      check(decode_server_hello(payload), payload);
      break;
    case MessageType::AttestRequest:
      check(decode_attest_request(payload), payload);
      check(decode_snp_papers(payload), payload);
      break;
    case MessageType::Released:
      check(decode_released(payload), payload);
      break;
    case MessageType::Denied:
      check(decode_denial(payload), payload);
      break;
    case MessageType::Resume:
      check(decode_resume(payload), payload);
      break;
    case MessageType::TagUpdate:
      check(decode_tag_batch(payload), payload);
      break;
    case MessageType::ExitNotice:
      check(decode_exit_notice(payload), payload);
      break;
    case MessageType::Reply:
      check(decode_reply(payload), payload);
      break;
  }
  return 0;
}
