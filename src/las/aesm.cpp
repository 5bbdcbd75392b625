#include "las/aesm.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
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

Error forbidden(const AesmOptions& options, int number) {
  const std::string path = options.socket.string();
  return Error(
      Code::Denied, "AESM at " + path + " may not be used by this user: " + std::strerror(number),
      "give this user the socket's group, which ls -l " + path +
          " names (usermod -aG GROUP USER, then log in again), or mend the rights of its folder; AESM's "
          "own user (aesmd) needs the group sgx_prv");
}

Result<Socket> connect_to(const AesmOptions& options) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = options.socket.string();
  if (path.size() >= sizeof(address.sun_path)) return absent(options, "the path is too long");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  Socket socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return absent(options, std::strerror(errno));
  if (::connect(socket.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0)
    return socket;
  if (errno == EACCES || errno == EPERM) return forbidden(options, errno);
  return absent(options, errno == EAGAIN ? "it is busy" : std::strerror(errno));
}

// AESM's answer to the questions of one purpose, which share one deadline: a purpose of several questions
// takes no longer than one of one.
class Conversation {
 public:
  explicit Conversation(const AesmOptions& options)
      : options_(options), deadline_(deadline_in(options.timeout)) {}

  // An answer may be AESM's refusal: its error is not 0 then.
  Result<AesmReply> ask(AesmRequest request) const {
    const auto left =
        std::chrono::duration_cast<std::chrono::microseconds>(deadline_ - std::chrono::steady_clock::now())
            .count();
    if (left <= 0) return absent(options_, "timed out");
    request.timeout_us = static_cast<uint32_t>(std::min<int64_t>(left, 60'000'000));
    const Socket socket = TRY(connect_to(options_));
    const Bytes message = encode(request);
    Bytes framed(4);
    store_le(framed.data(), static_cast<uint32_t>(message.size()));
    framed.insert(framed.end(), message.begin(), message.end());
    const auto sent = send_all(socket, framed, deadline_);
    if (!sent.ok()) return absent(options_, sent.error().message());
    ByteArray<4> size{};
    auto received = receive_all(socket, size, deadline_);
    if (!received.ok()) return absent(options_, received.error().message());
    if (load_le<uint32_t>(size.data()) > kMaxAesmReply) return malformed("it is too large");
    Bytes reply(load_le<uint32_t>(size.data()));
    received = receive_all(socket, reply, deadline_);
    if (!received.ok()) return absent(options_, received.error().message());
    return decode_aesm_reply(request.message, reply);
  }

  // A refusal is Unavailable; `name` says what was asked for.
  Result<AesmReply> obtain(AesmRequest request, const char* name) const {
    AesmReply reply = TRY(ask(std::move(request)));
    if (reply.error == 0) return reply;
    return Error(Code::Unavailable,
                 std::string("AESM refuses ") + name + " with error " + std::to_string(reply.error),
                 "its log says more: journalctl -u aesmd");
  }

 private:
  const AesmOptions& options_;
  const Deadline deadline_;
};

// ---- What is asked.

// Offset of algorithm_id in sgx_att_key_id_ext_t: id, version, mrsigner_length (2 each), mrsigner 48, prod_id
// 4, extended_prod_id 16, config_id 64, family_id 16.
constexpr size_t kAlgorithmOffset = 154;

Result<Bytes> find_ecdsa_key(const Conversation& aesm) {
  AesmRequest request;
  request.message = AesmMessage::GetSupportedAttKeyIDNum;
  const AesmReply count = TRY(aesm.obtain(request, "to count its keys"));
  if (count.number > kMaxAttestationKeys) return malformed("it has too many keys");
  request.message = AesmMessage::GetSupportedAttKeyIDs;
  request.buffer_size = count.number * kAttestationKeyIdSize;
  AesmReply ids;
  if (count.number != 0) ids = TRY(aesm.obtain(request, "to list its keys"));
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

// What AESM says about its quoting enclave, the same for every quote until AESM starts anew or is updated.
struct QuotingEnclave {
  sgx::TargetInfo target;
  uint64_t quote_size = 0;  // of the buffer that a quote needs
};

// Header and report body of a quote of version 3, then the size of what is signed over them.
constexpr size_t kSignatureSizeAt = 432, kSignedSize = 436;

// InitQuoteEx also makes AESM load its enclave and key. Twice, because AESM fills a buffer of the size that
// it is told.
Result<QuotingEnclave> find_quoting_enclave(const Conversation& aesm, const Bytes& key_id) {
  constexpr const char* kInit = "its quoting enclave (InitQuoteEx)";
  AesmRequest request;
  request.message = AesmMessage::InitQuoteEx;
  request.key_id = key_id;
  const AesmReply first = TRY(aesm.obtain(request, kInit));
  if (first.number > attestation::kMaxLasQuote) return malformed("its public key id is too large");
  request.with_public_key = true;
  request.buffer_size = first.number;
  const AesmReply second = TRY(aesm.obtain(request, kInit));
  QuotingEnclave out;
  if (second.data.size() != sizeof(out.target)) return malformed("TARGETINFO has another size");
  std::memcpy(&out.target, second.data.data(), sizeof(out.target));
  AesmRequest size;
  size.message = AesmMessage::GetQuoteSizeEx;
  size.key_id = key_id;
  out.quote_size = TRY(aesm.obtain(size, "the size of a quote (GetQuoteSizeEx)")).number;
  if (out.quote_size < kSignedSize || out.quote_size > attestation::kMaxLasQuote)
    return malformed("no quote has the size that it names");
  return out;
}

class AesmQuoter final : public Quoter {
 public:
  AesmQuoter(AesmOptions options, Bytes key_id, const QuotingEnclave& enclave)
      : options_(std::move(options)), key_id_(std::move(key_id)), enclave_(enclave) {}

  attestation::LasMode mode() const override { return attestation::LasMode::Hardware; }
  std::string describe() const override {
    return "SGX hardware, quotes by AESM (not yet run on SGX hardware)";
  }

  Result<sgx::TargetInfo> target_info() const override { return enclave().target; }

  Result<Bytes> quote(const sgx::Report& report) const override {
    Result<Bytes> quote = quote_once_or_twice(report);
    // Denied would blame the report.
    if (!quote.ok() && quote.error().code() == Code::Denied)
      return Error(Code::Unavailable, quote.error().message(), quote.error().hint());
    return quote;
  }

  Result<Bytes> collateral(int64_t) const override { return Bytes(); }

 private:
  QuotingEnclave enclave() const {
    const std::lock_guard lock(mutex_);
    return enclave_;
  }

  // An AESM that has started anew knows nothing of the enclave and key that it was asked for before. So after
  // a refusal they are asked for once more, and with them the quote.
  Result<Bytes> quote_once_or_twice(const sgx::Report& report) const {
    const Conversation aesm(options_);
    QuotingEnclave known = enclave();
    AesmRequest request;
    request.message = AesmMessage::GetQuoteEx;
    request.key_id = key_id_;
    request.report.assign(object_bytes(report).begin(), object_bytes(report).end());
    request.buffer_size = known.quote_size;
    AesmReply reply = TRY(aesm.ask(request));
    if (reply.error != 0) {
      const QuotingEnclave now = TRY(find_quoting_enclave(aesm, key_id_));
      {
        const std::lock_guard lock(mutex_);
        enclave_ = now;
      }
      if (std::memcmp(&now.target, &known.target, sizeof(now.target)) != 0)
        return Error(Code::Unavailable,
                     "AESM has another quoting enclave now than the one that the report was made for",
                     "try again: the new one is known now");
      known = now;
      request.buffer_size = known.quote_size;
      reply = TRY(aesm.obtain(request, "a quote (GetQuoteEx)"));
    }
    return trimmed(std::move(reply.data), known.quote_size);
  }

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
  mutable std::mutex mutex_;
  mutable QuotingEnclave enclave_;
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
  const Conversation aesm(patient);
  const Bytes key_id = TRY(find_ecdsa_key(aesm));
  const QuotingEnclave enclave = TRY(find_quoting_enclave(aesm, key_id));
  return std::unique_ptr<Quoter>(std::make_unique<AesmQuoter>(options, key_id, enclave));
}

}  // namespace cloister::las
