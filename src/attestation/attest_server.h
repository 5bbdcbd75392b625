// The service's side of the attestation protocol: it owns the listener, TLS, nonces, limits and deadlines,
// checks that evidence is genuine and bound to the connection, and asks a handler for everything that is
// policy.
//
// Order of work per request, cheapest and least trusting first: sizes → version → nonce (used up) → evidence
// verified with the report data that this connection demands → handler. No step is skipped for anybody.
// A connection has one thread; their number is bounded (docs/formats/attest-protocol.md).
#pragma once

#include <memory>
#include <span>

#include "attestation/messages.h"
#include "attestation/nonce_store.h"
#include "crypto/tls.h"

namespace cloister::attestation {

struct Verdict;  // attestation/verifier.h

struct Peer {
  crypto::Digest key{};      // SHA-256 of the instance key's SPKI; possession is proven
  std::string address;       // "ip:port", for logs
  crypto::Digest channel{};  // of this connection, for access proofs (binding.h)
};

// Says whether evidence is genuine. Thread-safe.
class EvidenceVerifier {
 public:
  virtual ~EvidenceVerifier() = default;
  // Bit n: evidence of kind n may be accepted. Said to every peer.
  virtual uint32_t kinds() const { return 1u << static_cast<unsigned>(EvidenceKind::SgxDcapQuote); }
  // Denied: genuine, but its report data is not `expected` (all 64 bytes). Any other error: not genuine,
  // revoked, without collateral, from a root that is not trusted.
  virtual Result<std::shared_ptr<const Verdict>> verify(EvidenceKind kind, ByteView quote,
                                                        ByteView collateral, const ReportData& expected) = 0;
};

struct Release {
  ByteArray<16> instance_id{};
  SecretBytes configuration;   // boundary::encode_config
  uint32_t lease_seconds = 0;  // see Released
  std::optional<crypto::Digest> access_proof;
};

// Policy and state. Called from many threads at once. The message of a returned error goes to the enclave,
// cut to kMaxDenialText: keep it short and free of what only the session's owner may know.
class AttestHandler {
 public:
  virtual ~AttestHandler() = default;

  // The evidence is genuine and bound to `peer`. Denied, NotFound, InvalidArgument: refused. Unavailable:
  // later. Whatever must survive (journal, singleton, one-time password) is durable when this returns.
  virtual Result<Release> on_attest(const Verdict& verdict, const AttestRequest& request,
                                    const Peer& peer) = 0;

  // A new connection of an instance. Must check that `instance` was released to `peer.key`; Denied otherwise.
  virtual Result<void> on_resume(const ByteArray<16>& instance, const Peer& peer) = 0;

  // All or nothing; ok only when durable. Integrity: a previous tag is not the newest. Denied: lease lost.
  virtual Result<void> on_tags(const ByteArray<16>& instance, const Peer& peer,
                               std::span<const TagUpdate> updates) = 0;
  virtual void on_exit(const ByteArray<16>& instance, const Peer& peer, int32_t status) = 0;
  // The connection of an instance has ended, with or without an exit notice.
  virtual void on_disconnect(const ByteArray<16>& instance, const Peer& peer) = 0;

  // Something was refused; for the owner's and operator's eyes. `subject` is empty when it was not known yet.
  virtual void on_refused(const Peer& peer, std::string_view subject, DenialCode code,
                          const Error& detail) = 0;
};

struct AttestServerOptions {
  std::string address = "127.0.0.1:18765";  // numeric; port 0: any free one
  std::chrono::milliseconds handshake_timeout{10000};
  std::chrono::milliseconds nonce_lifetime{30000};
  size_t max_connections = 1024;  // more are closed at once
  size_t max_unattested = 128;    // of these, how many may still be in the handshake
};

class AttestServer {
 public:
  // Starts listening. `verifier` and `handler` must outlive the server.
  static Result<std::unique_ptr<AttestServer>> start(const AttestServerOptions& options,
                                                     const crypto::TlsIdentity& identity,
                                                     EvidenceVerifier& verifier, AttestHandler& handler);
  // Ends every connection and waits for their threads.
  ~AttestServer();
  AttestServer(const AttestServer&) = delete;
  AttestServer& operator=(const AttestServer&) = delete;

  const std::string& address() const;  // with the real port
  size_t connections() const;

 private:
  class Impl;
  explicit AttestServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace cloister::attestation
