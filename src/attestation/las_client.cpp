#include "attestation/las_client.h"

namespace cloister::attestation {
namespace {

Code code_for(LasFailure failure) {
  switch (failure) {
    case LasFailure::VersionUnsupported:
      return Code::Unsupported;
    case LasFailure::ReportRefused:
      return Code::Denied;
    case LasFailure::Busy:
      return Code::Unavailable;
    case LasFailure::Malformed:
    case LasFailure::Internal:
      break;
  }
  return Code::Internal;
}

constexpr const char* kHint =
    "Check that `cloister las serve` runs on this host and that the address is right.";

}  // namespace

Result<LasClient> LasClient::connect(const LasClientOptions& options) {
  Result<Socket> socket = connect_tcp(options.address, deadline_in(options.connect_timeout));
  if (!socket.ok()) {
    return Error(socket.error().code(),
                 "Unable to connect to LAS at " + options.address + ": " + socket.error().message(), kHint);
  }
  LasClient client(std::move(*socket), options);
  const Bytes answer = TRY(client.ask(LasMessage::Hello, encode(LasHello{}), LasMessage::TargetInfo));
  client.target_ = TRY(decode_las_target_info(answer));
  if (client.target_.version != kLasVersion) {
    return Error(Code::Unsupported, "the LAS at " + options.address + " speaks protocol version " +
                                        std::to_string(client.target_.version));
  }
  return client;
}

Result<LasQuote> LasClient::quote(const ByteArray<432>& report) {
  LasQuoteRequest request;
  request.report = report;
  const Bytes answer = TRY(ask(LasMessage::QuoteRequest, encode(request), LasMessage::Quote));
  return decode_las_quote(answer);
}

Result<LasStatus> LasClient::status() {
  const Bytes answer = TRY(ask(LasMessage::StatusRequest, {}, LasMessage::Status));
  return decode_las_status(answer);
}

Result<Bytes> LasClient::ask(LasMessage question, ByteView payload, LasMessage answer) {
  Result<Bytes> result = exchange(question, payload, answer);
  if (result.ok()) return result;
  const Error& error = result.error();
  return Error(error.code(), "the LAS at " + options_.address + ": " + error.message(),
               error.code() == Code::Unavailable ? kHint : error.hint());
}

Result<Bytes> LasClient::exchange(LasMessage question, ByteView payload, LasMessage answer) {
  const Deadline deadline = deadline_in(options_.reply_timeout);
  TRY(write_las_frame(socket_, question, payload, deadline));
  LasFrame frame = TRY(read_las_frame(socket_, deadline));
  if (frame.type == LasMessage::Failed) {
    const LasFailed failed = TRY(decode_las_failed(frame.payload));
    return Error(code_for(failed.code), failed.text);
  }
  if (frame.type != answer) return Error(Code::Malformed, "an unexpected answer");
  return std::move(frame.payload);
}

}  // namespace cloister::attestation
