#include "attestation/attest_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>

#include "attestation/frames.h"
#include "base/worker_threads.h"

namespace cloister::attestation {
namespace {

const std::string kOtherVersion = "protocol version " + std::to_string(kProtocolVersion) + " only";

// Texts cross a trust border and end in logs: short, and nothing that could forge a line.
std::string sanitised(std::string_view text) {
  std::string out(text.substr(0, kMaxDenialText));
  for (char& character : out) {
    if (static_cast<uint8_t>(character) < 0x20 || character == 0x7f) character = ' ';
  }
  return out;
}

DenialCode code_for_policy(Code code) {
  switch (code) {
    case Code::Denied:
    case Code::NotFound:
    case Code::InvalidArgument:
    case Code::Unsupported:
      return DenialCode::PolicyRefused;
    case Code::Unavailable:
      return DenialCode::Busy;
    default:
      return DenialCode::Internal;
  }
}

DenialCode code_for_tags(Code code) {
  switch (code) {
    case Code::Integrity:
      return DenialCode::TagRefused;
    case Code::Denied:
    case Code::NotFound:
      return DenialCode::LeaseLost;
    case Code::Unavailable:
      return DenialCode::Busy;
    default:
      return DenialCode::Internal;
  }
}

// An attested instance may be silent for as long as its program runs.
Deadline no_deadline() { return std::chrono::steady_clock::now() + std::chrono::hours(24 * 365); }

// So that a machine that vanished without a word ends its lease within about two minutes.
void watch_for_death(int fd) {
  const auto set = [fd](int level, int name, int value) {
    ::setsockopt(fd, level, name, &value, sizeof(value));
  };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 15);
  set(IPPROTO_TCP, TCP_KEEPCNT, 4);
}

struct Refusal {
  DenialCode code;
  std::string text;  // for the enclave
  Error detail;      // for the owner
};

}  // namespace

class AttestServer::Impl {
 public:
  Impl(const AttestServerOptions& options, Listener listener, crypto::TlsContext tls,
       EvidenceVerifier& verifier, AttestHandler& handler)
      : options_(options),
        listener_(std::move(listener)),
        tls_(std::move(tls)),
        verifier_(verifier),
        handler_(handler),
        nonces_(options.nonce_lifetime) {
    acceptor_ = std::thread([this] { accept_all(); });
  }

  ~Impl() {
    stopping_ = true;
    listener_.shutdown();
    acceptor_.join();
    {
      const std::lock_guard lock(mutex_);
      for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
    }
    workers_.join();
  }

  const std::string& address() const { return listener_.address(); }
  size_t connections() const {
    const std::lock_guard lock(mutex_);
    return threads_;
  }

 private:
  void accept_all() {
    while (!stopping_) {
      Peer peer;
      Result<Socket> socket = listener_.accept(&peer.address);
      if (!socket.ok()) return;
      {
        const std::lock_guard lock(mutex_);
        if (threads_ >= options_.max_connections || unattested_ >= options_.max_unattested) continue;
        ++threads_;
        ++unattested_;
      }
      start_thread(std::move(*socket), std::move(peer));
    }
  }

  void start_thread(Socket socket, Peer peer) {
    const bool started = workers_.start([this, taken = std::move(socket), who = std::move(peer)]() mutable {
      watch_for_death(taken.fd());
      serve(std::move(taken), std::move(who));
      const std::lock_guard lock(mutex_);
      --threads_;
    });
    if (started) return;
    // No more threads: the connection is closed already, the service lives.
    const std::lock_guard lock(mutex_);
    --threads_;
    --unattested_;
  }

  // Before the descriptor is closed, so that `~Impl` never shuts down a number that means something else by
  // then.
  void unregister(int fd, bool attested) {
    const std::lock_guard lock(mutex_);
    open_.erase(fd);
    if (!attested) --unattested_;
  }

  void serve(Socket socket, Peer peer) {
    const Deadline deadline = deadline_in(options_.handshake_timeout);
    bool attested = false;
    // A second descriptor for the number's sake: it stays open until it is unregistered, whatever TLS does.
    const Socket keep(::dup(socket.fd()));
    {
      const std::lock_guard lock(mutex_);
      if (keep.valid()) open_.insert(keep.fd());
    }
    // Once registered it is `~Impl` that ends the wait; what came too late for that sees `stopping_`.
    if (!keep.valid() || stopping_) return unregister(keep.fd(), attested);
    Result<crypto::TlsStream> stream = tls_.accept(std::move(socket), deadline);
    if (!stream.ok()) {
      handler_.on_refused(peer, {}, DenialCode::Malformed, stream.error());
    } else if (!stopping_) {
      peer.key = *stream->peer_spki_sha256();
      converse(*stream, peer, deadline, attested);
      stream->close_notify();
    }
    unregister(keep.fd(), attested);
  }

  void converse(crypto::TlsStream& stream, const Peer& peer, Deadline deadline, bool& attested) {
    if (peer.key == stream.own_spki_sha256()) {
      const Error detail(Code::Denied, "the peer presents this service's own key");
      return deny(stream, peer, {}, {DenialCode::BindingMismatch, "own key", detail}, deadline);
    }
    const Nonce nonce = nonces_.issue();
    ServerHello hello;
    hello.nonce = nonce;
    hello.nonce_lifetime_ms = static_cast<uint32_t>(options_.nonce_lifetime.count());
    hello.evidence_kinds = verifier_.kinds();
    const Result<void> greeted = write_frame(stream, MessageType::ServerHello, encode(hello), deadline);
    const Result<Frame> frame = greeted.ok() ? read_frame(stream, deadline) : Error(greeted.error());
    std::optional<ByteArray<16>> instance;
    if (!frame.ok()) {
      handler_.on_refused(peer, {}, DenialCode::Malformed, frame.error());
    } else if (frame->type == MessageType::AttestRequest) {
      instance = attest(stream, peer, nonce, frame->payload.expose(), deadline);
    } else if (frame->type == MessageType::Resume) {
      instance = resume(stream, peer, frame->payload.expose(), deadline);
    } else {
      const Error detail(Code::Malformed, "the first message is neither AttestRequest nor Resume");
      deny(stream, peer, {}, {DenialCode::Malformed, "unexpected message", detail}, deadline);
    }
    nonces_.forget(nonce);
    if (!instance) return;
    {
      const std::lock_guard lock(mutex_);
      --unattested_;
      attested = true;
    }
    while (!stopping_ && serve_instance(stream, peer, *instance)) {
    }
    handler_.on_disconnect(*instance, peer);
  }

  void deny(crypto::TlsStream& stream, const Peer& peer, std::string_view subject, const Refusal& refusal,
            Deadline deadline) {
    handler_.on_refused(peer, subject, refusal.code, refusal.detail);
    Denial denial;
    denial.code = refusal.code;
    denial.text = sanitised(refusal.text);
    // Nobody may be listening any more; the refusal stands either way.
    const Result<void> sent = write_frame(stream, MessageType::Denied, encode(denial), deadline);
    static_cast<void>(sent);
  }

  std::optional<ByteArray<16>> attest(crypto::TlsStream& stream, const Peer& peer, const Nonce& nonce,
                                      ByteView payload, Deadline deadline) {
    std::string subject;
    BasicResult<Release, Refusal> release = decide(stream, peer, nonce, payload, subject);
    if (!release.ok()) {
      deny(stream, peer, subject, release.error(), deadline);
      return std::nullopt;
    }
    Released message;
    message.instance_id = release->instance_id;
    message.lease_seconds = release->lease_seconds;
    message.access_proof = release->access_proof;
    message.configuration = std::move(release->configuration);
    // From here the instance exists for the handler, so even a failed send must end in on_disconnect.
    const Result<void> sent = write_frame(stream, MessageType::Released, encode(message).expose(),
                                          deadline_in(options_.handshake_timeout));
    if (!sent.ok()) stream.shutdown_transport();
    return message.instance_id;
  }

  BasicResult<Release, Refusal> decide(crypto::TlsStream& stream, const Peer& peer, const Nonce& nonce,
                                       ByteView payload, std::string& subject) {
    const Result<AttestRequest> request = decode_attest_request(payload);
    if (!request.ok()) return Refusal{DenialCode::Malformed, "malformed request", request.error()};
    subject = request->subject;
    if (request->version != kProtocolVersion) {
      return Refusal{
          DenialCode::VersionUnsupported, kOtherVersion,
          Error(Code::Unsupported, "the enclave asks for version " + std::to_string(request->version))};
    }
    // Used up whatever follows. Its being this connection's own is also in the report data; checking here
    // names it.
    const Result<void> fresh = nonces_.consume(nonce);
    if (!fresh.ok()) return Refusal{DenialCode::NonceInvalid, "the nonce has expired", fresh.error()};
    if (!equal_constant_time(request->nonce, nonce)) {
      return Refusal{DenialCode::NonceInvalid, "the nonce is not this connection's",
                     Error(Code::Denied, "a nonce of another connection was used")};
    }
    const Result<Binding> binding = binding_of(stream, peer, *request, nonce);
    if (!binding.ok()) return Refusal{DenialCode::Internal, "internal error", binding.error()};
    const auto verdict =
        verifier_.verify(request->kind, request->quote, request->collateral, report_data_for(*binding));
    if (!verdict.ok()) {
      const bool unbound = verdict.error().code() == Code::Denied;
      return Refusal{unbound ? DenialCode::BindingMismatch : DenialCode::EvidenceInvalid,
                     unbound ? "the evidence was made for another connection, role or session"
                             : "the evidence is not accepted",
                     verdict.error()};
    }
    Peer attested = peer;
    attested.channel = channel_hash(*binding);
    Result<Release> release = handler_.on_attest(**verdict, *request, attested);
    if (!release.ok()) {
      const DenialCode code = code_for_policy(release.error().code());
      const std::string text = code == DenialCode::Internal ? "internal error" : release.error().message();
      return Refusal{code, text, release.error()};
    }
    if (release->configuration.expose().size() > kMaxConfiguration) {
      return Refusal{DenialCode::Internal, "internal error",
                     Error(Code::Internal, "the configuration is too long")};
    }
    return std::move(*release);
  }

  static Result<Binding> binding_of(const crypto::TlsStream& stream, const Peer& peer,
                                    const AttestRequest& request, const Nonce& nonce) {
    Binding binding;
    binding.role = request.role;
    binding.nonce = nonce;
    binding.exporter = TRY(stream.exporter(crypto::kChannelBindingLabel));
    binding.own_key = peer.key;  // seen from the maker of the evidence
    binding.peer_key = stream.own_spki_sha256();
    binding.subject = request.subject;
    binding.runtime_config_hash = runtime_config_hash(request);
    return binding;
  }

  std::optional<ByteArray<16>> resume(crypto::TlsStream& stream, const Peer& peer, ByteView payload,
                                      Deadline deadline) {
    const Result<Resume> message = decode_resume(payload);
    Result<void> allowed;
    DenialCode code = DenialCode::None;
    if (!message.ok()) {
      allowed = Error(message.error());
      code = DenialCode::Malformed;
    } else if (message->version != kProtocolVersion) {
      allowed = Error(Code::Unsupported, kOtherVersion);
      code = DenialCode::VersionUnsupported;
    } else {
      allowed = handler_.on_resume(message->instance_id, peer);
      if (!allowed.ok()) code = code_for_policy(allowed.error().code());
    }
    const bool sent = reply(stream, peer, 0, code, allowed, deadline);
    if (!allowed.ok()) return std::nullopt;
    if (!sent) stream.shutdown_transport();
    return message->instance_id;
  }

  bool reply(crypto::TlsStream& stream, const Peer& peer, uint64_t sequence, DenialCode code,
             const Result<void>& outcome, Deadline deadline) {
    Reply message;
    message.sequence = sequence;
    message.code = code;
    if (!outcome.ok()) {
      message.text = code == DenialCode::Internal ? "internal error" : sanitised(outcome.error().message());
      handler_.on_refused(peer, {}, code, outcome.error());
    }
    return write_frame(stream, MessageType::Reply, encode(message), deadline).ok();
  }

  // One message of an attested instance. False: the connection is over.
  bool serve_instance(crypto::TlsStream& stream, const Peer& peer, const ByteArray<16>& instance) {
    const Result<Frame> frame = read_frame(stream, no_deadline());
    if (!frame.ok()) return false;
    const Deadline deadline = deadline_in(options_.handshake_timeout);
    if (frame->type == MessageType::TagUpdate) {
      const Result<TagBatch> batch = decode_tag_batch(frame->payload.expose());
      if (batch.ok()) {
        const Result<void> done = handler_.on_tags(instance, peer, batch->updates);
        const DenialCode code = done.ok() ? DenialCode::None : code_for_tags(done.error().code());
        return reply(stream, peer, batch->sequence, code, done, deadline);
      }
      handler_.on_refused(peer, {}, DenialCode::Malformed, batch.error());
      return false;
    }
    if (frame->type == MessageType::ExitNotice) {
      const Result<ExitNotice> notice = decode_exit_notice(frame->payload.expose());
      if (notice.ok()) {
        handler_.on_exit(instance, peer, notice->status);
        return reply(stream, peer, notice->sequence, DenialCode::None, {}, deadline);
      }
    }
    handler_.on_refused(peer, {}, DenialCode::Malformed, Error(Code::Malformed, "unexpected message"));
    return false;
  }

  const AttestServerOptions options_;
  Listener listener_;
  const crypto::TlsContext tls_;
  EvidenceVerifier& verifier_;
  AttestHandler& handler_;
  NonceStore nonces_;
  std::atomic<bool> stopping_{false};

  mutable std::mutex mutex_;
  std::set<int> open_;  // what to shut down when stopping
  size_t threads_ = 0;
  size_t unattested_ = 0;
  WorkerThreads workers_;
  std::thread acceptor_;
};

AttestServer::AttestServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AttestServer::~AttestServer() = default;
const std::string& AttestServer::address() const { return impl_->address(); }
size_t AttestServer::connections() const { return impl_->connections(); }

Result<std::unique_ptr<AttestServer>> AttestServer::start(const AttestServerOptions& options,
                                                          const crypto::TlsIdentity& identity,
                                                          EvidenceVerifier& verifier,
                                                          AttestHandler& handler) {
  crypto::TlsContext tls = TRY(crypto::TlsContext::server(identity, crypto::TlsOptions{}));
  Listener listener = TRY(Listener::bind(options.address));
  auto impl = std::make_unique<Impl>(options, std::move(listener), std::move(tls), verifier, handler);
  return std::unique_ptr<AttestServer>(new AttestServer(std::move(impl)));
}

}  // namespace cloister::attestation
