#include "attestation/messages.h"

#include <algorithm>

namespace cloister::attestation {
namespace {

Error malformed(std::string_view what) {
  return Error(Code::Malformed, std::string("attestation message: ").append(what));
}

// Texts are shown and compared: no control characters, so that nothing can hide in a log line.
Result<std::string> read_text(ByteReader& in, size_t limit) {
  const std::string_view text = as_text(TRY(in.field(static_cast<uint32_t>(limit))));
  for (const char character : text) {
    if (static_cast<uint8_t>(character) < 0x20 || character == 0x7f) return malformed("a control character");
  }
  return std::string(text);
}

Result<Bytes> read_bytes(ByteReader& in, size_t limit) {
  const ByteView view = TRY(in.field(static_cast<uint32_t>(limit)));
  return Bytes(view.begin(), view.end());
}

Result<DenialCode> read_code(ByteReader& in) {
  const uint16_t code = TRY(in.le<uint16_t>());
  if (code > static_cast<uint16_t>(DenialCode::Internal)) return malformed("unknown code");
  return static_cast<DenialCode>(code);
}

ByteView proof_bytes(const std::optional<crypto::Digest>& proof) {
  return proof ? ByteView(*proof) : ByteView();
}

Result<std::optional<crypto::Digest>> read_proof(ByteReader& in) {
  const ByteView bytes = TRY(in.field(32));
  if (bytes.empty()) return std::optional<crypto::Digest>();
  if (bytes.size() != 32) return malformed("an access proof of another size");
  crypto::Digest proof;
  std::copy(bytes.begin(), bytes.end(), proof.begin());
  return std::optional<crypto::Digest>(proof);
}

}  // namespace

size_t payload_limit(uint8_t type) {
  switch (static_cast<MessageType>(type)) {
    case MessageType::ServerHello:
      return 64;
    case MessageType::AttestRequest:
      return 3 << 20;
    case MessageType::Released:
      return kMaxConfiguration + 64;
    case MessageType::Denied:
      return kMaxDenialText + 16;
    case MessageType::Resume:
      return 32;
    case MessageType::TagUpdate:
      return 16 + kMaxTagUpdates * (kMaxVolumeName + 64);
    case MessageType::ExitNotice:
      return 16;
    case MessageType::Reply:
      return kMaxDenialText + 32;
  }
  return 0;
}

std::string_view denial_name(DenialCode code) {
  switch (code) {
    case DenialCode::None:
      return "none";
    case DenialCode::VersionUnsupported:
      return "version unsupported";
    case DenialCode::Malformed:
      return "malformed request";
    case DenialCode::NonceInvalid:
      return "nonce invalid";
    case DenialCode::EvidenceInvalid:
      return "evidence invalid";
    case DenialCode::BindingMismatch:
      return "evidence not bound to this connection";
    case DenialCode::PolicyRefused:
      return "refused by policy";
    case DenialCode::Busy:
      return "busy";
    case DenialCode::TagRefused:
      return "tag refused";
    case DenialCode::LeaseLost:
      return "lease lost";
    case DenialCode::Internal:
      return "internal error";
  }
  return "unknown";
}

Bytes encode(const ServerHello& message) {
  ByteWriter out;
  out.le(message.version).bytes(message.nonce).le(message.nonce_lifetime_ms).le(message.evidence_kinds);
  return out.take();
}

Result<ServerHello> decode_server_hello(ByteView payload) {
  ByteReader in(payload, "ServerHello");
  ServerHello message;
  message.version = TRY(in.le<uint16_t>());
  message.nonce = TRY(in.array<32>());
  message.nonce_lifetime_ms = TRY(in.le<uint32_t>());
  message.evidence_kinds = TRY(in.le<uint32_t>());
  TRY(in.expect_end());
  return message;
}

Bytes encode(const AttestRequest& message) {
  ByteWriter out;
  out.le(message.version).le(static_cast<uint8_t>(message.role)).le(static_cast<uint8_t>(message.kind));
  out.bytes(message.nonce)
      .field(message.subject)
      .field(message.one_time_password)
      .field(proof_bytes(message.access_proof));
  out.le(static_cast<uint32_t>(message.host_arguments.size()));
  for (const std::string& argument : message.host_arguments) out.field(argument);
  out.field(message.quote).field(message.collateral);
  return out.take();
}

Result<AttestRequest> decode_attest_request(ByteView payload) {
  ByteReader in(payload, "AttestRequest");
  AttestRequest message;
  message.version = TRY(in.le<uint16_t>());
  const uint8_t role = TRY(in.le<uint8_t>());
  const uint8_t kind = TRY(in.le<uint8_t>());
  if (role != static_cast<uint8_t>(Role::Enclave)) return malformed("unknown role");
  if (kind < static_cast<uint8_t>(EvidenceKind::SgxDcapQuote) ||
      kind > static_cast<uint8_t>(EvidenceKind::TdxQuote)) {
    return malformed("unknown kind of evidence");
  }
  message.kind = static_cast<EvidenceKind>(kind);
  message.nonce = TRY(in.array<32>());
  message.subject = TRY(read_text(in, kMaxSubject));
  message.one_time_password = TRY(read_text(in, kMaxOneTimePassword));
  message.access_proof = TRY(read_proof(in));
  const uint32_t count = TRY(in.le<uint32_t>());
  if (count > kMaxHostArguments) return malformed("too many host arguments");
  for (uint32_t i = 0; i < count; ++i) {
    const std::string_view argument = as_text(TRY(in.field(kMaxHostArgument)));
    if (argument.find('\0') != std::string_view::npos) return malformed("NUL in a host argument");
    message.host_arguments.emplace_back(argument);
  }
  message.quote = TRY(read_bytes(in, kMaxQuote));
  message.collateral = TRY(read_bytes(in, kMaxCollateral));
  TRY(in.expect_end());
  if (message.subject.empty()) return malformed("no session");
  return message;
}

crypto::Digest runtime_config_hash(const AttestRequest& request) {
  uint8_t version[2];
  store_le(version, request.version);
  ByteWriter fields;
  fields.field("cloister-runtime-v1").field(ByteView(version));
  fields.field(request.one_time_password).field(proof_bytes(request.access_proof));
  for (const std::string& argument : request.host_arguments) fields.field(argument);
  return crypto::sha256(fields.view());
}

Bytes encode(const SnpPapers& papers) {
  return ByteWriter().field(papers.leaf).field(papers.chain).field(papers.crl).take();
}

Result<SnpPapers> decode_snp_papers(ByteView bytes) {
  ByteReader in(bytes, "SnpPapers");
  SnpPapers papers;
  papers.leaf = TRY(read_bytes(in, kMaxSnpPaper));
  papers.chain = TRY(read_bytes(in, kMaxSnpPaper));
  papers.crl = TRY(read_bytes(in, kMaxSnpPaper));
  TRY(in.expect_end());
  return papers;
}

SecretBytes encode(const Released& message) {
  const Bytes& configuration = message.configuration.expose();
  ByteWriter head;
  head.bytes(message.instance_id).le(message.lease_seconds).field(proof_bytes(message.access_proof));
  head.le(static_cast<uint32_t>(configuration.size()));
  // In one piece: a growing buffer would leave copies of the configuration in freed memory.
  Bytes out(head.view().size() + configuration.size());
  const auto rest = std::copy(head.view().begin(), head.view().end(), out.begin());
  std::copy(configuration.begin(), configuration.end(), rest);
  return SecretBytes(std::move(out));
}

Result<Released> decode_released(ByteView payload) {
  ByteReader in(payload, "Released");
  Released message;
  message.instance_id = TRY(in.array<16>());
  message.lease_seconds = TRY(in.le<uint32_t>());
  message.access_proof = TRY(read_proof(in));
  const ByteView configuration = TRY(in.field(kMaxConfiguration));
  TRY(in.expect_end());
  message.configuration = SecretBytes(Bytes(configuration.begin(), configuration.end()));
  return message;
}

Bytes encode(const Denial& message) {
  ByteWriter out;
  out.le(static_cast<uint16_t>(message.code)).field(message.text);
  return out.take();
}

Result<Denial> decode_denial(ByteView payload) {
  ByteReader in(payload, "Denied");
  Denial message;
  message.code = TRY(read_code(in));
  message.text = TRY(read_text(in, kMaxDenialText));
  TRY(in.expect_end());
  if (message.code == DenialCode::None) return malformed("a denial without a code");
  return message;
}

Bytes encode(const Resume& message) {
  ByteWriter out;
  out.le(message.version).bytes(message.instance_id);
  return out.take();
}

Result<Resume> decode_resume(ByteView payload) {
  ByteReader in(payload, "Resume");
  Resume message;
  message.version = TRY(in.le<uint16_t>());
  message.instance_id = TRY(in.array<16>());
  TRY(in.expect_end());
  return message;
}

Bytes encode(const TagBatch& message) {
  ByteWriter out;
  out.le(message.sequence).le(static_cast<uint32_t>(message.updates.size()));
  for (const TagUpdate& update : message.updates) {
    out.field(update.volume).bytes(update.previous).bytes(update.next).le(update.epoch);
  }
  return out.take();
}

Result<TagBatch> decode_tag_batch(ByteView payload) {
  ByteReader in(payload, "TagUpdate");
  TagBatch message;
  message.sequence = TRY(in.le<uint64_t>());
  const uint32_t count = TRY(in.le<uint32_t>());
  if (count == 0 || count > kMaxTagUpdates) return malformed("a batch has 1 to 64 tag updates");
  for (uint32_t i = 0; i < count; ++i) {
    TagUpdate update;
    update.volume = TRY(read_text(in, kMaxVolumeName));
    update.previous = TRY(in.array<16>());
    update.next = TRY(in.array<16>());
    update.epoch = TRY(in.le<uint64_t>());
    if (update.volume.empty()) return malformed("a volume without a name");
    for (const TagUpdate& earlier : message.updates) {
      if (earlier.volume == update.volume) return malformed("a volume appears twice");
    }
    message.updates.push_back(std::move(update));
  }
  TRY(in.expect_end());
  return message;
}

Bytes encode(const ExitNotice& message) {
  ByteWriter out;
  out.le(message.sequence).le(message.status);
  return out.take();
}

Result<ExitNotice> decode_exit_notice(ByteView payload) {
  ByteReader in(payload, "ExitNotice");
  ExitNotice message;
  message.sequence = TRY(in.le<uint64_t>());
  message.status = TRY(in.le<int32_t>());
  TRY(in.expect_end());
  return message;
}

Bytes encode(const Reply& message) {
  ByteWriter out;
  out.le(message.sequence).le(static_cast<uint16_t>(message.code)).field(message.text);
  return out.take();
}

Result<Reply> decode_reply(ByteView payload) {
  ByteReader in(payload, "Reply");
  Reply message;
  message.sequence = TRY(in.le<uint64_t>());
  message.code = TRY(read_code(in));
  message.text = TRY(read_text(in, kMaxDenialText));
  TRY(in.expect_end());
  if (message.code == DenialCode::None && !message.text.empty()) return malformed("a success with a text");
  return message;
}

}  // namespace cloister::attestation
