#include "attestation/attest_client.h"

namespace cloister::attestation {
namespace {

std::string quoted_reason(DenialCode code, const std::string& text) {
  return std::string(text.empty() ? denial_name(code) : std::string_view(text));
}

Error denied(const Denial& denial) {
  const Code code = denial.code == DenialCode::Busy ? Code::Unavailable : Code::Denied;
  return Error(code, "the CAS refuses: " + quoted_reason(denial.code, denial.text));
}

Result<ServerHello> read_hello(crypto::TlsStream& stream, Deadline deadline) {
  const Frame frame = TRY(read_frame(stream, deadline));
  if (frame.type == MessageType::Denied) {
    const Denial denial = TRY(decode_denial(frame.payload.expose()));
    return denied(denial);
  }
  if (frame.type != MessageType::ServerHello) return Error(Code::Malformed, "the CAS does not greet");
  const ServerHello hello = TRY(decode_server_hello(frame.payload.expose()));
  // One version exists, so any other is a mistake or a downgrade; the evidence is bound to the version's
  // label.
  if (hello.version != kProtocolVersion) {
    return Error(Code::Unsupported, "the CAS speaks attestation protocol " + std::to_string(hello.version) +
                                        ", this enclave " + std::to_string(kProtocolVersion));
  }
  if ((hello.evidence_kinds & (1u << static_cast<unsigned>(EvidenceKind::SgxDcapQuote))) == 0) {
    return Error(Code::Unsupported, "the CAS does not accept SGX quotes");
  }
  return hello;
}

}  // namespace

AttestClient::AttestClient(crypto::TlsStream stream, AttestClientOptions options, ServerHello hello)
    : stream_(std::move(stream)), options_(std::move(options)), hello_(hello) {}

Result<AttestClient> AttestClient::connect(const AttestClientOptions& options,
                                           const crypto::TlsIdentity& instance) {
  const std::string context = "cannot reach the CAS at " + options.address;
  Result<Socket> socket = connect_tcp(options.address, deadline_in(options.connect_timeout));
  if (!socket.ok()) return std::move(socket.error()).within(context);

  crypto::TlsOptions tls;
  tls.expected_peer = options.service_key;
  const crypto::TlsContext settings = TRY(crypto::TlsContext::client(instance, tls));
  const Deadline deadline = deadline_in(options.handshake_timeout);
  Result<crypto::TlsStream> stream = settings.connect(std::move(*socket), deadline);
  if (!stream.ok()) {
    // A refused key is a statement about the CAS, not about reaching it.
    const bool refused = stream.error().code() == Code::Denied;
    return std::move(stream.error()).within(refused ? "the CAS at " + options.address : context);
  }
  if (stream->peer_spki_sha256() == stream->own_spki_sha256()) {
    return Error(Code::Denied, "the CAS at " + options.address + " uses this enclave's own key");
  }
  Result<ServerHello> hello = read_hello(*stream, deadline);
  if (!hello.ok()) {
    const bool unreachable = hello.error().code() == Code::Unavailable;
    return unreachable ? std::move(hello.error()).within(context) : std::move(hello.error());
  }
  return AttestClient(std::move(*stream), options, *hello);
}

Result<Binding> AttestClient::binding_for(const AttestRequest& request) const {
  Binding binding;
  binding.role = Role::Enclave;
  binding.nonce = hello_.nonce;
  binding.exporter = TRY(stream_.exporter(crypto::kChannelBindingLabel));
  binding.own_key = stream_.own_spki_sha256();
  binding.peer_key = service_key();
  binding.subject = request.subject;
  return binding;
}

Result<std::optional<crypto::Digest>> AttestClient::proof(Role role, const AttestRequest& request) const {
  std::optional<crypto::Digest> out;
  if (options_.access_token.empty()) return out;
  const Binding binding = TRY(binding_for(request));
  out = access_proof(options_.access_token, role, channel_hash(binding), request.subject);
  return out;
}

Result<ReportData> AttestClient::report_data(const AttestRequest& request) const {
  Binding binding = TRY(binding_for(request));
  AttestRequest proven = request;
  proven.access_proof = TRY(proof(Role::Enclave, request));
  binding.runtime_config_hash = runtime_config_hash(proven);
  return report_data_for(binding);
}

Result<Released> AttestClient::attest(AttestRequest request) {
  request.version = kProtocolVersion;
  request.role = Role::Enclave;
  request.nonce = hello_.nonce;
  request.access_proof = TRY(proof(Role::Enclave, request));
  const Deadline deadline = deadline_in(options_.handshake_timeout);
  SecretBytes bytes(encode(request));  // holds the one-time password
  // Decoding is the list of limits; finding out here names the fault where it was made.
  const Result<AttestRequest> sound = decode_attest_request(bytes.expose());
  if (!sound.ok() ||
      bytes.expose().size() > payload_limit(static_cast<uint8_t>(MessageType::AttestRequest))) {
    return Error(Code::InvalidArgument,
                 "the session name or an argument is too long or has control characters");
  }
  TRY(write_frame(stream_, MessageType::AttestRequest, bytes.expose(), deadline));
  const Frame frame = TRY(read_frame(stream_, deadline));
  if (frame.type == MessageType::Denied) {
    const Denial denial = TRY(decode_denial(frame.payload.expose()));
    return denied(denial);
  }
  if (frame.type != MessageType::Released) return Error(Code::Malformed, "unexpected answer from the CAS");
  Released released = TRY(decode_released(frame.payload.expose()));
  const auto expected = TRY(proof(Role::Service, request));
  const bool known =
      !expected || (released.access_proof && equal_constant_time(*expected, *released.access_proof));
  if (!known) return Error(Code::Denied, "the CAS does not know the service access token");
  return released;
}

Result<void> AttestClient::expect_reply(uint64_t sequence, std::chrono::milliseconds timeout) {
  const Frame frame = TRY(read_frame(stream_, deadline_in(timeout)));
  if (frame.type != MessageType::Reply) return Error(Code::Malformed, "unexpected answer from the CAS");
  const Reply reply = TRY(decode_reply(frame.payload.expose()));
  if (reply.sequence != sequence) return Error(Code::Malformed, "the CAS answers something else");
  const std::string text = "the CAS refuses: " + quoted_reason(reply.code, reply.text);
  switch (reply.code) {
    case DenialCode::None:
      return {};
    case DenialCode::TagRefused:
      return Error(Code::Integrity, text);
    case DenialCode::Busy:
    case DenialCode::Internal:
      return Error(Code::Unavailable, text);
    default:
      return Error(Code::Denied, text);
  }
}

Result<void> AttestClient::resume(const ByteArray<16>& instance_id) {
  Resume message;
  message.instance_id = instance_id;
  TRY(write_frame(stream_, MessageType::Resume, encode(message), deadline_in(options_.handshake_timeout)));
  return expect_reply(0, options_.handshake_timeout);
}

Result<void> AttestClient::update_tags(std::vector<TagUpdate> updates) {
  TagBatch batch;
  batch.sequence = ++sequence_;
  batch.updates = std::move(updates);
  TRY(write_frame(stream_, MessageType::TagUpdate, encode(batch), deadline_in(options_.reply_timeout)));
  return expect_reply(batch.sequence, options_.reply_timeout);
}

Result<void> AttestClient::notify_exit(int32_t status) {
  ExitNotice notice;
  notice.sequence = ++sequence_;
  notice.status = status;
  TRY(write_frame(stream_, MessageType::ExitNotice, encode(notice), deadline_in(options_.handshake_timeout)));
  return expect_reply(notice.sequence, options_.handshake_timeout);
}

}  // namespace cloister::attestation
