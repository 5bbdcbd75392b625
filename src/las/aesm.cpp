#include "las/aesm.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/socket.h"

namespace cloister::las {
namespace {

// ---- Protocol Buffers, as far as it is used: varints and byte strings.

constexpr uint32_t kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;

void put_varint(Bytes& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<uint8_t>(value | 0x80));
  out.push_back(static_cast<uint8_t>(value));
}
void put_number(Bytes& out, uint32_t field, uint64_t value) {
  put_varint(out, field << 3 | kVarint);
  put_varint(out, value);
}
void put_bytes(Bytes& out, uint32_t field, ByteView value) {
  put_varint(out, field << 3 | kBytes);
  put_varint(out, value.size());
  out.insert(out.end(), value.begin(), value.end());
}

Error malformed(const char* what) { return Error(Code::Malformed, std::string("AESM's answer: ") + what); }

Result<uint64_t> take_varint(ByteView& in) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (in.empty()) return malformed("a number is cut off");
    const uint8_t byte = in[0];
    in = in.subspan(1);
    if (shift == 63 && byte > 1) return malformed("a number is too large");
    value |= uint64_t{byte & 0x7fu} << shift;
    if ((byte & 0x80) == 0) return value;
  }
  return malformed("a number is too long");
}

struct Field {
  uint32_t number = 0, kind = 0;
  uint64_t value = 0;
  ByteView bytes;
};

Result<Field> take_field(ByteView& in) {
  const uint64_t tag = TRY(take_varint(in));
  Field field;
  if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff) return malformed("a field without a number");
  field.number = static_cast<uint32_t>(tag >> 3);
  field.kind = static_cast<uint32_t>(tag & 7);
  uint64_t size = 0;
  switch (field.kind) {
    case kVarint:
      field.value = TRY(take_varint(in));
      return field;
    case kFixed64:
      size = 8;
      break;
    case kFixed32:
      size = 4;
      break;
    case kBytes:
      size = TRY(take_varint(in));
      break;
    default:
      return malformed("a field of an unknown kind");
  }
  if (size > in.size()) return malformed("a field is cut off");
  field.bytes = in.first(size);
  in = in.subspan(size);
  return field;
}

// Which fields of the answer hold its data and its number; 0: it has none.
struct Shape {
  uint32_t data, number;
};
Shape shape_of(AesmMessage message) {
  switch (message) {
    case AesmMessage::InitQuoteEx:
      return {2, 3};
    case AesmMessage::GetQuoteSizeEx:
    case AesmMessage::GetSupportedAttKeyIDNum:
      return {0, 2};
    default:
      return {2, 0};
  }
}

// ---- The socket.

Error absent(const AesmOptions& options, const std::string& reason) {
  return Error(Code::Unavailable, "Unable to reach AESM at " + options.socket.string() + ": " + reason,
               "start it (systemctl start aesmd) or install sgx-aesm-service; see cloister doctor");
}

Result<Socket> connect_to(const AesmOptions& options) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = options.socket.string();
  if (path.size() >= sizeof(address.sun_path)) return absent(options, "the path is too long");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  Socket socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return absent(options, std::strerror(errno));
  if (::connect(socket.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    return absent(options, errno == EAGAIN ? "it is busy" : std::strerror(errno));
  return socket;
}

Result<void> send_all(const AesmOptions& options, const Socket& socket, ByteView bytes, Deadline deadline) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(socket.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count > 0) {
      bytes = bytes.subspan(static_cast<size_t>(count));
    } else if (count < 0 && errno == EAGAIN) {
      if (const auto ready = wait_writable(socket.fd(), deadline); !ready.ok())
        return absent(options, ready.error().message());
    } else if (count == 0 || errno != EINTR) {
      return absent(options, std::strerror(errno));
    }
  }
  return {};
}

Result<void> receive_all(const AesmOptions& options, const Socket& socket, MutableByteView out,
                         Deadline deadline) {
  while (!out.empty()) {
    const ssize_t count = ::recv(socket.fd(), out.data(), out.size(), 0);
    if (count > 0) {
      out = out.subspan(static_cast<size_t>(count));
    } else if (count == 0) {
      return absent(options, "it closed the connection");
    } else if (errno == EAGAIN) {
      if (const auto ready = wait_readable(socket.fd(), deadline); !ready.ok())
        return absent(options, ready.error().message());
    } else if (errno != EINTR) {
      return absent(options, std::strerror(errno));
    }
  }
  return {};
}

Result<AesmReply> ask(const AesmOptions& options, AesmRequest request, const char* name) {
  const Deadline deadline = deadline_in(options.timeout);
  request.timeout_us = static_cast<uint32_t>(std::min<int64_t>(options.timeout.count(), 60'000) * 1000);
  const Socket socket = TRY(connect_to(options));
  const Bytes message = encode(request);
  Bytes framed(4);
  store_le(framed.data(), static_cast<uint32_t>(message.size()));
  framed.insert(framed.end(), message.begin(), message.end());
  TRY(send_all(options, socket, framed, deadline));
  ByteArray<4> size{};
  TRY(receive_all(options, socket, size, deadline));
  if (load_le<uint32_t>(size.data()) > kMaxAesmReply) return malformed("it is too large");
  Bytes reply(load_le<uint32_t>(size.data()));
  TRY(receive_all(options, socket, reply, deadline));
  AesmReply decoded = TRY(decode_aesm_reply(request.message, reply));
  if (decoded.error != 0)
    return Error(Code::Unavailable,
                 std::string("AESM refuses ") + name + " with error " + std::to_string(decoded.error),
                 "its log says more: journalctl -u aesmd");
  return decoded;
}

// ---- What is asked.

// Offset of algorithm_id in sgx_att_key_id_ext_t: id, version, mrsigner_length (2 each), mrsigner 48, prod_id
// 4, extended_prod_id 16, config_id 64, family_id 16.
constexpr size_t kAlgorithmOffset = 154;

Result<Bytes> find_ecdsa_key(const AesmOptions& options) {
  AesmRequest request;
  request.message = AesmMessage::GetSupportedAttKeyIDNum;
  const AesmReply count = TRY(ask(options, request, "to count its keys"));
  if (count.number > kMaxAttestationKeys) return malformed("it has too many keys");
  request.message = AesmMessage::GetSupportedAttKeyIDs;
  request.buffer_size = count.number * kAttestationKeyIdSize;
  AesmReply ids;
  if (count.number != 0) ids = TRY(ask(options, request, "to list its keys"));
  if (ids.data.size() != request.buffer_size)
    return malformed("its list of keys has another size than it said");
  for (size_t at = 0; at < ids.data.size(); at += kAttestationKeyIdSize) {
    const uint8_t* id = ids.data.data() + at;
    if (load_le<uint32_t>(id + kAlgorithmOffset) == kAlgorithmEcdsaP256)
      return Bytes(id, id + kAttestationKeyIdSize);
  }
  return Error(Code::Unsupported, "AESM has no ECDSA key: it cannot make DCAP quotes",
               "install sgx-aesm-service with libsgx-aesm-quote-ex-plugin and libsgx-aesm-ecdsa-plugin");
}

class AesmQuoter final : public Quoter {
 public:
  AesmQuoter(AesmOptions options, Bytes key_id) : options_(std::move(options)), key_id_(std::move(key_id)) {}

  attestation::LasMode mode() const override { return attestation::LasMode::Hardware; }
  std::string describe() const override {
    return "SGX hardware, quotes by AESM (not yet run on SGX hardware)";
  }

  Result<sgx::TargetInfo> target_info() const override { return target_info(options_); }
  // Two questions, because AESM fills a buffer of the size that it is told.
  Result<sgx::TargetInfo> target_info(const AesmOptions& options) const {
    AesmRequest request;
    request.message = AesmMessage::InitQuoteEx;
    request.key_id = key_id_;
    const AesmReply first = TRY(ask(options, request, "its quoting enclave (InitQuoteEx)"));
    if (first.number > attestation::kMaxLasQuote) return malformed("its public key id is too large");
    request.with_public_key = true;
    request.buffer_size = first.number;
    const AesmReply second = TRY(ask(options, request, "its quoting enclave (InitQuoteEx)"));
    sgx::TargetInfo target;
    if (second.data.size() != sizeof(target)) return malformed("TARGETINFO has another size");
    std::memcpy(&target, second.data.data(), sizeof(target));
    return target;
  }

  Result<Bytes> quote(const sgx::Report& report) const override {
    AesmRequest request;
    request.message = AesmMessage::GetQuoteSizeEx;
    request.key_id = key_id_;
    const AesmReply size = TRY(ask(options_, request, "the size of a quote (GetQuoteSizeEx)"));
    if (size.number < kSignedSize || size.number > attestation::kMaxLasQuote)
      return malformed("no quote has the size that it names");
    request.message = AesmMessage::GetQuoteEx;
    request.report.assign(object_bytes(report).begin(), object_bytes(report).end());
    request.buffer_size = size.number;
    AesmReply reply = TRY(ask(options_, request, "a quote (GetQuoteEx)"));
    return trimmed(std::move(reply.data), size.number);
  }

  Result<Bytes> collateral(int64_t) const override { return Bytes(); }

 private:
  // Header and report body of a quote of version 3, then the size of what is signed over them.
  static constexpr size_t kSignatureSizeAt = 432, kSignedSize = 436;

  // AESM returns the whole buffer, whatever the quote needs of it.
  static Result<Bytes> trimmed(Bytes quote, uint64_t buffer_size) {
    if (quote.size() < kSignedSize || quote.size() > buffer_size)
      return malformed("the quote has another size");
    const uint64_t size = kSignedSize + uint64_t{load_le<uint32_t>(quote.data() + kSignatureSizeAt)};
    if (size > quote.size()) return malformed("the quote is cut off");
    quote.resize(size);
    return quote;
  }

  const AesmOptions options_;
  const Bytes key_id_;
};

}  // namespace

Bytes encode(const AesmRequest& request) {
  constexpr uint32_t kTimeout = 9;
  Bytes body;
  switch (request.message) {
    case AesmMessage::InitQuoteEx:
      put_bytes(body, 1, request.key_id);
      put_number(body, 3, request.with_public_key ? 1 : 0);
      if (request.with_public_key) put_number(body, 4, request.buffer_size);
      break;
    case AesmMessage::GetQuoteSizeEx:
      put_bytes(body, 1, request.key_id);
      break;
    case AesmMessage::GetQuoteEx:
      put_bytes(body, 1, request.report);
      put_bytes(body, 2, request.key_id);
      put_number(body, 4, request.buffer_size);
      break;
    case AesmMessage::GetSupportedAttKeyIDs:
      put_number(body, 1, request.buffer_size);
      break;
    case AesmMessage::GetSupportedAttKeyIDNum:
      break;
  }
  put_number(body, kTimeout, request.timeout_us);
  Bytes out;
  put_bytes(out, static_cast<uint32_t>(request.message), body);
  return out;
}

Result<AesmReply> decode_aesm_reply(AesmMessage message, ByteView bytes) {
  if (bytes.size() > kMaxAesmReply) return malformed("it is too large");
  std::optional<ByteView> body;
  while (!bytes.empty()) {
    const Field field = TRY(take_field(bytes));
    if (field.number != static_cast<uint32_t>(message)) continue;
    if (field.kind != kBytes || body) return malformed("the answer is no message, or there twice");
    body = field.bytes;
  }
  if (!body) return malformed("it is not about what was asked");
  const Shape shape = shape_of(message);
  AesmReply reply;
  bool has_error = false;
  while (!body->empty()) {
    const Field field = TRY(take_field(*body));
    const bool number = field.kind == kVarint;
    if (field.number == 1) {
      if (!number || has_error) return malformed("its error code");
      reply.error = field.value;
      has_error = true;
    } else if (field.number == shape.number) {
      if (!number || field.value > UINT32_MAX) return malformed("its number");
      reply.number = field.value;
    } else if (field.number == shape.data) {
      if (field.kind != kBytes) return malformed("its data");
      reply.data.assign(field.bytes.begin(), field.bytes.end());
    }
  }
  if (!has_error) return malformed("it has no error code");
  return reply;
}

Result<std::unique_ptr<Quoter>> aesm_quoter(const AesmOptions& options, std::chrono::milliseconds warm_up) {
  AesmOptions patient = options;
  patient.timeout = warm_up;
  const Bytes key_id = TRY(find_ecdsa_key(patient));
  auto quoter = std::make_unique<AesmQuoter>(options, key_id);
  TRY(quoter->target_info(patient));
  return std::unique_ptr<Quoter>(std::move(quoter));
}

}  // namespace cloister::las
