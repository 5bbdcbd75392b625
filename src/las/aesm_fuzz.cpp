// What AESM answers, as any of the messages that it may be about.
#include "las/aesm.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cloister;
  for (const auto message :
       {las::AesmMessage::InitQuoteEx, las::AesmMessage::GetQuoteSizeEx, las::AesmMessage::GetQuoteEx,
        las::AesmMessage::GetSupportedAttKeyIDNum, las::AesmMessage::GetSupportedAttKeyIDs}) {
    const auto reply = las::decode_aesm_reply(message, {data, size});
    if (reply.ok() && (reply->data.size() > size || reply->number > UINT32_MAX)) __builtin_trap();
  }
  return 0;
}
