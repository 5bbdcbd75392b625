// The protocol between an enclave's agent and the local attestation service of its host, as values, bytes and
// frames on a plain TCP connection. Neither end trusts the other or the wire: the quote is checked by the
// service that it is for, so nothing here needs secrecy or authentication, only limits and deadlines
// (docs/formats/las-protocol.md).
//
// One frame is: type (1 byte), size of the payload (u32, little-endian), payload.
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/socket.h"

namespace cloister::attestation {

inline constexpr uint16_t kLasVersion = 1;
inline constexpr size_t kMaxLasQuote = 64 << 10;
inline constexpr size_t kMaxLasCollateral = 1 << 20;
inline constexpr size_t kMaxLasText = 512;

enum class LasMessage : uint8_t {
  Hello = 1,         // enclave → LAS, first: which version
  QuoteRequest = 2,  // enclave → LAS: a report for the LAS's target
  TargetInfo = 3,    // LAS → enclave, answers Hello
  Quote = 4,         // LAS → enclave
  StatusRequest = 5,
  Status = 6,
  Failed = 7,  // LAS → enclave: why not; the connection ends
};
// The largest payload of a type; 0 for an unknown one.
size_t las_payload_limit(uint8_t type);

enum class LasMode : uint8_t { Simulation = 1, Hardware = 2 };

struct LasHello {
  uint16_t version = kLasVersion;
};
struct LasTargetInfo {
  uint16_t version = kLasVersion;
  LasMode mode = LasMode::Simulation;
  ByteArray<512> target{};
};
struct LasQuoteRequest {
  ByteArray<432> report{};
};
struct LasQuote {
  Bytes quote;
  Bytes collateral;  // a bundle in JSON (verifier.h); may be empty
};
struct LasStatus {
  uint16_t version = kLasVersion;
  LasMode mode = LasMode::Simulation;
  uint64_t uptime_seconds = 0;
  uint64_t quotes = 0, refused = 0;  // since the start
  uint32_t connections = 0;          // open now, this one included
  std::string platform;              // "TCB status UpToDate, PPID 0123…": for people
};
enum class LasFailure : uint16_t {
  Malformed = 1,
  VersionUnsupported = 2,
  ReportRefused = 3,  // not made on this machine for this LAS's target
  Busy = 4,
  Internal = 5,
};
struct LasFailed {
  LasFailure code = LasFailure::Internal;
  std::string text;
};

Bytes encode(const LasHello& message);
Bytes encode(const LasTargetInfo& message);
Bytes encode(const LasQuoteRequest& message);
Bytes encode(const LasQuote& message);
Bytes encode(const LasStatus& message);
Bytes encode(const LasFailed& message);

// Malformed for anything that `encode` would not produce. Versions are not judged here.
Result<LasHello> decode_las_hello(ByteView payload);
Result<LasTargetInfo> decode_las_target_info(ByteView payload);
Result<LasQuoteRequest> decode_las_quote_request(ByteView payload);
Result<LasQuote> decode_las_quote(ByteView payload);
Result<LasStatus> decode_las_status(ByteView payload);
Result<LasFailed> decode_las_failed(ByteView payload);

struct LasFrame {
  LasMessage type;
  Bytes payload;
};
// The socket is non-blocking. Unavailable: too slow or gone; `ended` (when given) says that it was a proper
// end between frames. Malformed: unknown type or over its limit.
Result<LasFrame> read_las_frame(const Socket& socket, Deadline deadline, bool* ended = nullptr);
Result<void> write_las_frame(const Socket& socket, LasMessage type, ByteView payload, Deadline deadline);

}  // namespace cloister::attestation
