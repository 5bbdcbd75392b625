// The enclave's side of the attestation protocol: connect, be told a nonce, send evidence bound to this very
// connection, receive the configuration; later publish tags. Evidence itself comes from the caller, because
// only the caller can make reports (docs/formats/attest-protocol.md).
//
// Works in the agent: no threads, no name resolution, no files.
#pragma once

#include "attestation/frames.h"

namespace cloister::attestation {

struct AttestClientOptions {
  std::string address;                        // numeric "ip:port"
  std::optional<crypto::Digest> service_key;  // SHA-256 of the service's SPKI to insist on
  std::string access_token;                   // empty: none; then the service need not know it either
  std::chrono::milliseconds connect_timeout{5000};
  std::chrono::milliseconds handshake_timeout{10000};  // TLS and each answer until released
  std::chrono::milliseconds reply_timeout{30000};      // tag updates: the service commits to disk first
};

// One connection. Not thread-safe. After any error but Denied and Integrity from `update_tags` it is of no
// more use.
class AttestClient {
 public:
  // Unavailable: "cannot reach the CAS at ADDRESS: reason". Denied: not the pinned key, or our own key.
  // Unsupported: the service speaks another version or wants other evidence.
  static Result<AttestClient> connect(const AttestClientOptions& options,
                                      const crypto::TlsIdentity& instance);

  // What evidence for `request` must carry (request.subject and the host's values must be set already).
  Result<ReportData> report_data(const AttestRequest& request) const;

  // Sets version, role, nonce and access proof, sends, waits. Denied: the service refuses (its short text),
  // or does not know the access token; Unavailable: busy or gone; Malformed: not the protocol.
  Result<Released> attest(AttestRequest request);

  // On a new connection with the same instance key, instead of `attest`.
  Result<void> resume(const ByteArray<16>& instance_id);

  // Ok only once the service has made all of it durable. Integrity: a previous tag is not the newest (fork or
  // replay). Denied: the lease is lost. Unavailable: unknown outcome; retrying the same batch is safe.
  Result<void> update_tags(std::vector<TagUpdate> updates);
  Result<void> notify_exit(int32_t status);

  const crypto::Digest& service_key() const { return *stream_.peer_spki_sha256(); }
  bool usable() const { return !stream_.idle_and_broken(); }
  void close() { stream_.close_notify(); }

 private:
  AttestClient(crypto::TlsStream stream, AttestClientOptions options, ServerHello hello);
  Result<Binding> binding_for(const AttestRequest& request) const;
  Result<std::optional<crypto::Digest>> proof(Role role, const AttestRequest& request) const;
  Result<void> expect_reply(uint64_t sequence, std::chrono::milliseconds timeout);

  crypto::TlsStream stream_;
  AttestClientOptions options_;
  ServerHello hello_;
  uint64_t sequence_ = 0;
};

}  // namespace cloister::attestation
