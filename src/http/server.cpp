#include "http/server.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <atomic>
#include <list>
#include <mutex>

#include "base/worker_threads.h"
#include "http/connection.h"

namespace cloister::http {
namespace {

// How long, and for how many bytes, a closed connection is still listened to: closing with unread bytes
// resets it, and the peer might lose the answer that says why.
constexpr std::chrono::milliseconds kLinger{1000};
constexpr size_t kMaxLinger = 4 << 20;

}  // namespace

class Server::Impl {
 public:
  Impl(const ServerOptions& options, Handler handler, Listener listener,
       std::optional<crypto::TlsContext> tls)
      : options_(options),
        handler_(std::move(handler)),
        listener_(std::move(listener)),
        tls_(std::move(tls)) {
    acceptor_ = std::thread([this] { accept_all(); });
  }

  ~Impl() {
    stopping_ = true;
    listener_.shutdown();
    acceptor_.join();
    {
      const std::lock_guard lock(mutex_);
      for (Open& open : open_) open.socket.shutdown();
    }
    workers_.join();
  }

  const std::string& address() const { return listener_.address(); }

 private:
  // A second descriptor of the connection: `~Impl` ends its waits by it without racing against its owner, and
  // it lives until the peer has had its time to read the answer.
  struct Open {
    Socket socket;
    std::string host;
  };
  using Entry = std::list<Open>::iterator;

  void accept_all() {
    while (!stopping_) {
      Peer peer;
      Result<Socket> socket = listener_.accept(&peer.address);
      if (!socket.ok()) return;
      const std::optional<Entry> entry = enter(*socket, peer.host());
      if (!entry) {
        refuse(*socket);
        continue;
      }
      const bool started = workers_.start([this, taken = std::move(*socket), peer, at = *entry]() mutable {
        if (!stopping_) serve(std::move(taken), std::move(peer));
        linger(at->socket);
        leave(at);
      });
      if (!started) leave(*entry);
    }
  }

  std::optional<Entry> enter(const Socket& socket, std::string host) {
    Socket second(::fcntl(socket.fd(), F_DUPFD_CLOEXEC, 0));
    const std::lock_guard lock(mutex_);
    size_t& same = per_host_[host];
    if (!second.valid() || open_.size() >= options_.max_connections ||
        same >= options_.max_connections_per_address) {
      if (same == 0) per_host_.erase(host);
      return std::nullopt;
    }
    ++same;
    open_.push_front({std::move(second), std::move(host)});
    return open_.begin();
  }

  void leave(Entry entry) {
    const std::lock_guard lock(mutex_);
    const auto same = per_host_.find(entry->host);
    if (--same->second == 0) per_host_.erase(same);
    open_.erase(entry);
  }

  void refuse(const Socket& socket) const {
    if (tls_) return;
    const std::string answer = closing_answer(options_, {503, "too many connections, try again later"});
    static_cast<void>(::send(socket.fd(), answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
  }

  void serve(Socket socket, Peer peer) const {
    if (!tls_) return serve_connection(Transport(std::move(socket)), peer, options_, handler_);
    Result<crypto::TlsStream> stream = tls_->accept(std::move(socket), deadline_in(options_.head_timeout));
    if (!stream.ok()) return;
    peer.key = stream->peer_spki_sha256();
    serve_connection(Transport(std::move(*stream)), peer, options_, handler_);
  }

  void linger(const Socket& socket) const {
    ::shutdown(socket.fd(), SHUT_WR);
    const Deadline deadline = deadline_in(kLinger);
    Bytes ignored(16 << 10);
    for (size_t total = 0; total < kMaxLinger && !stopping_;) {
      const ssize_t count = ::recv(socket.fd(), ignored.data(), ignored.size(), 0);
      if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) return;
      if (count > 0) total += static_cast<size_t>(count);
      if (!wait_readable(socket.fd(), deadline).ok()) return;
    }
  }

  const ServerOptions options_;
  const Handler handler_;
  Listener listener_;
  const std::optional<crypto::TlsContext> tls_;
  std::atomic<bool> stopping_{false};

  std::mutex mutex_;
  std::list<Open> open_;
  std::map<std::string, size_t> per_host_;
  WorkerThreads workers_;
  std::thread acceptor_;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;
const std::string& Server::address() const { return impl_->address(); }

Result<std::unique_ptr<Server>> Server::start(const ServerOptions& options, Handler handler) {
  std::optional<crypto::TlsContext> tls;
  if (options.tls) {
    crypto::TlsOptions settings;
    settings.peer =
        options.ask_client_certificate ? crypto::PeerCertificate::Optional : crypto::PeerCertificate::None;
    settings.any_key_type = true;
    tls = TRY(crypto::TlsContext::server(*options.tls, settings));
  } else if (options.ask_client_certificate) {
    return Error(Code::InvalidArgument, "client certificates need TLS");
  }
  Listener listener = TRY(Listener::bind(options.address));
  auto impl = std::make_unique<Impl>(options, std::move(handler), std::move(listener), std::move(tls));
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

}  // namespace cloister::http
