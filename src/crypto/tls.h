// TLS 1.3 between Cloister's own programs. Nobody here trusts a certificate authority: a peer is whoever
// proves possession of a P-256 key, and what the program then decides on is that key's SPKI hash. So the
// certificate callback accepts any certificate with such a key, and names, dates and issuers in it mean
// nothing. No resumption, no tickets, no early data: each connection has its own exporter value, which
// attestation binds to. Sources: RFC 8446; RFC 9266 (exporter for channel binding).
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "base/socket.h"
#include "crypto/certificate.h"

struct ssl_ctx_st;
struct ssl_st;

namespace cloister::crypto {

enum class PeerCertificate : uint8_t {
  None,      // not asked for (server only)
  Optional,  // asked for, may be absent (server only)
  Required,
};

struct TlsIdentity {
  KeyPair key;
  Certificate certificate;
};

struct TlsOptions {
  PeerCertificate peer = PeerCertificate::Required;
  // Refuse every peer whose SPKI hash is another. The message names both hashes.
  std::optional<Digest> expected_peer;
  // Accept RSA and other keys too (the client API: a person's certificate). Attested connections never do.
  bool any_key_type = false;
};

class TlsStream;

// Settings and keys for many connections. Thread-safe once made; copies share. Streams keep it alive.
class TlsContext {
 public:
  static Result<TlsContext> client(const std::optional<TlsIdentity>& identity, const TlsOptions& options);
  static Result<TlsContext> server(const TlsIdentity& identity, const TlsOptions& options);

  // Take a connected socket (made non-blocking here) and do the handshake.
  // Unavailable: the peer went away or was too slow. Denied: a certificate was refused (by us or, as far as
  // TLS tells, by the peer). Malformed: it does not speak TLS 1.3.
  Result<TlsStream> connect(Socket socket, Deadline deadline) const;
  Result<TlsStream> accept(Socket socket, Deadline deadline) const;

  ssl_ctx_st* native() const { return context_.get(); }

 private:
  struct Settings;
  static Result<TlsContext> make(bool is_server, const TlsIdentity* identity, const TlsOptions& options);
  Result<TlsStream> handshake(Socket socket, Deadline deadline, bool is_server) const;

  std::shared_ptr<ssl_ctx_st> context_;
  std::shared_ptr<Settings> settings_;
};

// One connection. Not thread-safe, except shutdown_transport().
class TlsStream {
 public:
  TlsStream(TlsStream&&) noexcept;
  TlsStream& operator=(TlsStream&&) noexcept;
  ~TlsStream();

  // Unavailable on timeout, reset or an end of the stream in the middle. read_some returns 0 at a proper end
  // (close_notify); an end without it is Unavailable, because it may be an attacker's cut.
  Result<void> read_exact(MutableByteView out, Deadline deadline);
  Result<size_t> read_some(MutableByteView out, Deadline deadline);
  Result<void> write_all(ByteView data, Deadline deadline);

  // RFC 8446, 7.5 with an empty context. RFC 9266: label "EXPORTER-Channel-Binding", 32 bytes.
  Result<ByteArray<32>> exporter(std::string_view label) const;

  // SHA-256 of SPKI. Own: zero when no certificate was presented. Peer: empty when it presented none.
  const Digest& own_spki_sha256() const { return own_; }
  const std::optional<Digest>& peer_spki_sha256() const { return peer_; }
  Result<Certificate> peer_certificate() const;  // NotFound when it presented none

  // True when the peer has closed or sent something unasked: an idle connection that must not be used again.
  bool idle_and_broken() const;
  void close_notify();        // best effort, does not wait
  void shutdown_transport();  // wakes a waiting thread; from any thread
  int fd() const { return socket_.fd(); }

 private:
  friend class TlsContext;
  struct FreeSsl {
    void operator()(ssl_st* ssl) const;
  };
  TlsStream(Socket socket, std::shared_ptr<ssl_ctx_st> context, std::unique_ptr<ssl_st, FreeSsl> ssl);
  // Runs `step` until it is done; waits as it asks. `ended` tells whether a failure was a proper
  // close_notify.
  Result<int> drive(const std::function<int()>& step, Deadline deadline, std::string_view what,
                    bool* ended = nullptr);

  Socket socket_;
  std::shared_ptr<ssl_ctx_st> context_;
  std::unique_ptr<ssl_st, FreeSsl> ssl_;
  Digest own_{};
  std::optional<Digest> peer_;
};

inline constexpr std::string_view kChannelBindingLabel = "EXPORTER-Channel-Binding";

}  // namespace cloister::crypto
