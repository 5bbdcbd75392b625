// Whatever decodes must encode to the same bytes. The first byte chooses the message.
#include "attestation/las_messages.h"

namespace {

using namespace cloister;
using namespace cloister::attestation;

template <class Message>
void round_trip(const Result<Message>& message, ByteView payload) {
  if (!message.ok()) return;
  const Bytes again = encode(*message);
  CLOISTER_CHECK(again.size() == payload.size() && std::equal(again.begin(), again.end(), payload.begin()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const ByteView payload(data + 1, size - 1);
  switch (static_cast<LasMessage>(data[0])) {
    case LasMessage::Hello:
      round_trip(decode_las_hello(payload), payload);
      break;
    case LasMessage::QuoteRequest:
      round_trip(decode_las_quote_request(payload), payload);
      break;
    case LasMessage::TargetInfo:
      round_trip(decode_las_target_info(payload), payload);
      break;
    case LasMessage::Quote:
      round_trip(decode_las_quote(payload), payload);
      break;
    case LasMessage::Status:
      round_trip(decode_las_status(payload), payload);
      break;
    default:
      round_trip(decode_las_failed(payload), payload);
  }
  return 0;
}
