#include "las/server.h"

#include <sys/socket.h>

#include <atomic>
#include <ctime>
#include <mutex>
#include <set>

#include "base/worker_threads.h"

namespace cloister::las {
namespace {

using attestation::LasFailed;
using attestation::LasFailure;
using attestation::LasFrame;
using attestation::LasMessage;

// Collateral lives for 30 days; signing it once an hour costs nothing and lets verifiers cache it.
constexpr int64_t kCollateralRefresh = 3600;
static_assert(sizeof(sgx::TargetInfo) == sizeof(attestation::LasTargetInfo::target));

struct Answer {
  LasMessage type;
  Bytes payload;
};

Answer failed(LasFailure code, std::string_view text) {
  LasFailed message;
  message.code = code;
  message.text = text.substr(0, attestation::kMaxLasText);
  return {LasMessage::Failed, encode(message)};
}

}  // namespace

class LasServer::Impl {
 public:
  Impl(const LasServerOptions& options, Listener listener, std::unique_ptr<Quoter> quoter)
      : options_(options), listener_(std::move(listener)), quoter_(std::move(quoter)) {
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

  attestation::LasStatus status() const {
    attestation::LasStatus out;
    const auto uptime = std::chrono::steady_clock::now() - started_;
    out.uptime_seconds =
        static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(uptime).count());
    out.quotes = quotes_;
    out.refused = refused_;
    const std::lock_guard lock(mutex_);
    out.connections = static_cast<uint32_t>(connections_);
    out.mode = quoter_->mode();
    out.platform = quoter_->describe();
    return out;
  }

 private:
  void accept_all() {
    while (!stopping_) {
      Result<Socket> socket = listener_.accept();
      if (!socket.ok()) return;
      {
        const std::lock_guard lock(mutex_);
        if (connections_ >= options_.max_connections) continue;
        ++connections_;
      }
      const bool started = workers_.start([this, taken = std::move(*socket)] {
        serve(taken);
        const std::lock_guard lock(mutex_);
        --connections_;
      });
      if (started) continue;
      const std::lock_guard lock(mutex_);
      --connections_;
    }
  }

  void serve(const Socket& socket) {
    {
      const std::lock_guard lock(mutex_);
      open_.insert(socket.fd());
    }
    // Once registered it is `~Impl` that ends a wait; what came too late for that sees `stopping_`.
    for (size_t i = 0; !stopping_ && i < options_.max_requests && serve_request(socket, i == 0); ++i) {
    }
    const std::lock_guard lock(mutex_);
    open_.erase(socket.fd());
  }

  // False: the connection is over.
  bool serve_request(const Socket& socket, bool first) {
    const Deadline deadline = deadline_in(options_.idle_timeout);
    bool ended = false;
    const Result<LasFrame> frame = attestation::read_las_frame(socket, deadline, &ended);
    Answer answer{LasMessage::Failed, {}};
    if (frame.ok()) {
      answer = first ? greet(*frame) : respond(*frame);
    } else if (frame.error().code() == Code::Malformed) {
      answer = failed(LasFailure::Malformed, frame.error().message());
    } else {
      return false;
    }
    // Counted before it is said: who has the answer may ask for the count.
    if (answer.type == LasMessage::Failed) ++refused_;
    const bool sent = attestation::write_las_frame(socket, answer.type, answer.payload, deadline).ok();
    if (answer.type != LasMessage::Failed) return sent;
    ::shutdown(socket.fd(), SHUT_WR);
    return false;
  }

  Answer greet(const LasFrame& frame) const {
    if (frame.type != LasMessage::Hello) return failed(LasFailure::Malformed, "expected a hello");
    const Result<attestation::LasHello> hello = attestation::decode_las_hello(frame.payload);
    if (!hello.ok()) return failed(LasFailure::Malformed, hello.error().message());
    if (hello->version != attestation::kLasVersion) {
      return failed(LasFailure::VersionUnsupported,
                    "protocol version " + std::to_string(attestation::kLasVersion) + " only");
    }
    const Result<sgx::TargetInfo> target = quoter_->target_info();
    if (!target.ok()) return failed(LasFailure::Internal, target.error().message());
    attestation::LasTargetInfo answer;
    answer.mode = quoter_->mode();
    std::memcpy(answer.target.data(), &*target, answer.target.size());
    return {LasMessage::TargetInfo, encode(answer)};
  }

  Answer respond(const LasFrame& frame) {
    if (frame.type == LasMessage::StatusRequest && frame.payload.empty()) {
      return {LasMessage::Status, encode(status())};
    }
    if (frame.type != LasMessage::QuoteRequest) return failed(LasFailure::Malformed, "unexpected message");
    const Result<attestation::LasQuoteRequest> request = attestation::decode_las_quote_request(frame.payload);
    if (!request.ok()) return failed(LasFailure::Malformed, request.error().message());
    sgx::Report report;
    std::memcpy(&report, request->report.data(), sizeof(report));
    Result<Bytes> quote = quoter_->quote(report);
    if (!quote.ok()) {
      const bool denied = quote.error().code() == Code::Denied;
      return failed(denied ? LasFailure::ReportRefused : LasFailure::Internal, quote.error().message());
    }
    const Result<Bytes> bundle = collateral();
    if (!bundle.ok()) return failed(LasFailure::Internal, bundle.error().message());
    attestation::LasQuote answer;
    answer.quote = std::move(*quote);
    answer.collateral = *bundle;
    ++quotes_;
    return {LasMessage::Quote, encode(answer)};
  }

  Result<Bytes> collateral() {
    const int64_t now = static_cast<int64_t>(std::time(nullptr));
    const std::lock_guard lock(mutex_);
    if (collateral_.empty() || now < collateral_time_ || now - collateral_time_ > kCollateralRefresh) {
      collateral_ = TRY(quoter_->collateral(now));
      collateral_time_ = now;
    }
    return Bytes(collateral_);
  }

  const LasServerOptions options_;
  Listener listener_;
  const std::unique_ptr<Quoter> quoter_;
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  std::atomic<bool> stopping_{false};
  std::atomic<uint64_t> quotes_{0}, refused_{0};

  mutable std::mutex mutex_;
  std::set<int> open_;  // what to shut down when stopping
  size_t connections_ = 0;
  Bytes collateral_;
  int64_t collateral_time_ = 0;
  WorkerThreads workers_;
  std::thread acceptor_;
};

LasServer::LasServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LasServer::~LasServer() = default;
const std::string& LasServer::address() const { return impl_->address(); }
attestation::LasStatus LasServer::status() const { return impl_->status(); }

Result<std::unique_ptr<LasServer>> LasServer::start(const LasServerOptions& options,
                                                    std::unique_ptr<Quoter> quoter) {
  // Said now rather than to the first enclave.
  TRY(quoter->collateral(static_cast<int64_t>(std::time(nullptr))));
  Listener listener = TRY(Listener::bind(options.address));
  auto impl = std::make_unique<Impl>(options, std::move(listener), std::move(quoter));
  return std::unique_ptr<LasServer>(new LasServer(std::move(impl)));
}

}  // namespace cloister::las
