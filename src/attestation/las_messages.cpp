#include "attestation/las_messages.h"

namespace cloister::attestation {
namespace {

constexpr size_t kReportSize = 432, kTargetSize = 512;

Error bad(std::string_view what) { return Error(Code::Malformed, "LAS message: " + std::string(what)); }

Result<LasMode> mode_of(uint8_t value) {
  if (value != 1 && value != 2) return bad("unknown mode");
  return static_cast<LasMode>(value);
}

// Printable ASCII: it ends in logs and on terminals.
Result<std::string> plain_text(ByteView bytes) {
  for (const uint8_t byte : bytes) {
    if (byte < 0x20 || byte > 0x7e) return bad("a text that is not printable");
  }
  return std::string(as_text(bytes));
}

}  // namespace

size_t las_payload_limit(uint8_t type) {
  switch (static_cast<LasMessage>(type)) {
    case LasMessage::Hello:
      return 2;
    case LasMessage::QuoteRequest:
      return kReportSize;
    case LasMessage::TargetInfo:
      return 2 + 1 + kTargetSize;
    case LasMessage::Quote:
      return 4 + kMaxLasQuote + 4 + kMaxLasCollateral;
    case LasMessage::StatusRequest:
      return 1;  // its payload is empty; a limit of 0 means an unknown type
    case LasMessage::Status:
      return 2 + 1 + 8 + 8 + 8 + 4 + 4 + kMaxLasText;
    case LasMessage::Failed:
      return 2 + 4 + kMaxLasText;
  }
  return 0;
}

Bytes encode(const LasHello& message) {
  ByteWriter out;
  out.le(message.version);
  return out.take();
}
Bytes encode(const LasTargetInfo& message) {
  ByteWriter out;
  out.le(message.version).le(static_cast<uint8_t>(message.mode)).bytes(message.target);
  return out.take();
}
Bytes encode(const LasQuoteRequest& message) { return {message.report.begin(), message.report.end()}; }
Bytes encode(const LasQuote& message) {
  ByteWriter out;
  out.field(message.quote).field(message.collateral);
  return out.take();
}
Bytes encode(const LasStatus& message) {
  ByteWriter out;
  out.le(message.version).le(static_cast<uint8_t>(message.mode)).le(message.uptime_seconds);
  out.le(message.quotes).le(message.refused).le(message.connections).field(message.platform);
  return out.take();
}
Bytes encode(const LasFailed& message) {
  ByteWriter out;
  out.le(static_cast<uint16_t>(message.code)).field(message.text);
  return out.take();
}

Result<LasHello> decode_las_hello(ByteView payload) {
  ByteReader in(payload, "LAS hello");
  LasHello out;
  out.version = TRY(in.le<uint16_t>());
  TRY(in.expect_end());
  return out;
}

Result<LasTargetInfo> decode_las_target_info(ByteView payload) {
  ByteReader in(payload, "LAS target info");
  LasTargetInfo out;
  out.version = TRY(in.le<uint16_t>());
  const uint8_t mode = TRY(in.le<uint8_t>());
  out.mode = TRY(mode_of(mode));
  out.target = TRY(in.array<kTargetSize>());
  TRY(in.expect_end());
  return out;
}

Result<LasQuoteRequest> decode_las_quote_request(ByteView payload) {
  ByteReader in(payload, "LAS quote request");
  LasQuoteRequest out;
  out.report = TRY(in.array<kReportSize>());
  TRY(in.expect_end());
  return out;
}

Result<LasQuote> decode_las_quote(ByteView payload) {
  ByteReader in(payload, "LAS quote");
  const ByteView quote = TRY(in.field(kMaxLasQuote));
  const ByteView collateral = TRY(in.field(kMaxLasCollateral));
  TRY(in.expect_end());
  if (quote.empty()) return bad("an empty quote");
  return LasQuote{Bytes(quote.begin(), quote.end()), Bytes(collateral.begin(), collateral.end())};
}

Result<LasStatus> decode_las_status(ByteView payload) {
  ByteReader in(payload, "LAS status");
  LasStatus out;
  out.version = TRY(in.le<uint16_t>());
  const uint8_t mode = TRY(in.le<uint8_t>());
  out.mode = TRY(mode_of(mode));
  out.uptime_seconds = TRY(in.le<uint64_t>());
  out.quotes = TRY(in.le<uint64_t>());
  out.refused = TRY(in.le<uint64_t>());
  out.connections = TRY(in.le<uint32_t>());
  const ByteView platform = TRY(in.field(kMaxLasText));
  out.platform = TRY(plain_text(platform));
  TRY(in.expect_end());
  return out;
}

Result<LasFailed> decode_las_failed(ByteView payload) {
  ByteReader in(payload, "LAS failure");
  LasFailed out;
  const uint16_t code = TRY(in.le<uint16_t>());
  if (code < 1 || code > static_cast<uint16_t>(LasFailure::Internal)) return bad("unknown failure");
  out.code = static_cast<LasFailure>(code);
  const ByteView text = TRY(in.field(kMaxLasText));
  out.text = TRY(plain_text(text));
  TRY(in.expect_end());
  return out;
}

Result<LasFrame> read_las_frame(const Socket& socket, Deadline deadline, bool* ended) {
  uint8_t header[5];
  TRY(receive_all(socket, header, deadline, ended));
  const size_t limit = las_payload_limit(header[0]);
  if (limit == 0) return bad("unknown type");
  const uint32_t size = load_le<uint32_t>(header + 1);
  if (size > limit) return bad("too long");
  LasFrame frame;
  frame.type = static_cast<LasMessage>(header[0]);
  frame.payload.resize(size);
  TRY(receive_all(socket, frame.payload, deadline));
  return frame;
}

Result<void> write_las_frame(const Socket& socket, LasMessage type, ByteView payload, Deadline deadline) {
  CLOISTER_CHECK(payload.size() <= las_payload_limit(static_cast<uint8_t>(type)));
  ByteWriter out;
  out.le(static_cast<uint8_t>(type)).field(payload);
  return send_all(socket, out.view(), deadline);
}

}  // namespace cloister::attestation
