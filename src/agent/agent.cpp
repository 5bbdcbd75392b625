#include "agent/agent.h"

#include <openssl/crypto.h>

#include <map>
#include <thread>

#include "attestation/attest_client.h"
#include "boundary/config.h"
#include "boundary/launch.h"

namespace cloister::agent {
namespace {

using attestation::AttestClient;
using attestation::AttestRequest;

// Of the host's environment this is all that an attested start looks at.
constexpr std::string_view kAccessToken = "CLOISTER_SERVICE_ACCESS_TOKEN=";

// An Error with the exit code it leads to.
struct Stop {
  Failure kind;
  Error error;
};
template <class T>
using Outcome = BasicResult<T, Stop>;

Failure kind_for(Code code) {
  if (code == Code::Integrity) return Failure::Integrity;
  if (code == Code::Unavailable) return Failure::Unavailable;
  return Failure::Refused;
}

std::string hint_for(const Stop& stop) {
  if (!stop.error.hint().empty()) return stop.error.hint();
  switch (stop.kind) {
    case Failure::Integrity:
      return "The data was changed or replaced by an older state. Do not use it.";
    case Failure::Refused:
      return "The session's owner sees the reason in the service's log.";
    case Failure::Unavailable:
      return "Check that it runs and that the address is right, then try again.";
  }
  return {};
}

class Agent {
 public:
  Agent(Kernel& kernel, const AgentOptions& options) : kernel_(kernel), options_(options) {}

  int run() {
    const Outcome<void> started = start();
    if (!started.ok()) return give_up(started.error());
    const Outcome<void> served = serve();
    if (!served.ok()) return give_up(served.error());
    return 0;
  }

 private:
  int give_up(const Stop& stop) {
    kernel_.fail(stop.kind, stop.error.message() + "\n" + hint_for(stop));
    return static_cast<int>(stop.kind);
  }

  static Stop stop(Error error) {
    const Failure kind = kind_for(error.code());
    return Stop{kind, std::move(error)};
  }

  // --- until the program runs

  Outcome<void> start() {
    Result<void> prepared = prepare();
    if (!prepared.ok()) return stop(std::move(prepared.error()));
    Result<attestation::Released> released = attest();
    if (!released.ok()) return stop(std::move(released.error()));
    instance_id_ = released->instance_id;
    Result<void> remembered = remember_epochs(released->configuration.expose());
    if (!remembered.ok()) return stop(std::move(remembered.error()));
    Result<void> configured = kernel_.configure(released->configuration.expose());
    if (configured.ok()) return {};
    // What the kernel refuses is a volume in a wrong state or an image without what the session wants.
    const Failure kind = configured.error().code() == Code::Integrity ? Failure::Integrity : Failure::Refused;
    return Stop{kind, std::move(configured.error())};
  }

  Result<void> prepare() {
    const Bytes record = TRY(kernel_.launch_info());
    const boundary::LaunchRecord launch = TRY(boundary::decode_launch(record));
    const size_t at = launch.config_id.find('@');
    request_.subject = launch.config_id.substr(0, at);
    if (at != std::string::npos) request_.one_time_password = launch.config_id.substr(at + 1);
    if (request_.subject.empty()) {
      return Error(Code::InvalidArgument, "no session was named",
                   "Give SESSION/SERVICE as the configuration id.");
    }
    request_.host_arguments = launch.args;
    las_address_ = launch.las_address;
    client_options_.address = launch.cas_address;
    client_options_.connect_timeout = options_.connect_timeout;
    client_options_.handshake_timeout = options_.handshake_timeout;
    client_options_.reply_timeout = options_.reply_timeout;
    for (const std::string& entry : launch.environment) {
      if (entry.starts_with(kAccessToken)) client_options_.access_token = entry.substr(kAccessToken.size());
    }
    if (!launch.cas_key_hash.empty()) {
      const Result<ByteArray<32>> hash = array_from_hex<32>(launch.cas_key_hash);
      if (!hash.ok()) return Error(Code::InvalidArgument, "the CAS key hash is not 64 hex digits");
      client_options_.service_key = *hash;
    }
    crypto::KeyPair key = TRY(crypto::KeyPair::generate());
    crypto::CertificateOptions certificate_options;
    certificate_options.common_name = "cloister instance";
    crypto::Certificate certificate = TRY(crypto::Certificate::self_signed(key, certificate_options));
    identity_.emplace(crypto::TlsIdentity{std::move(key), std::move(certificate)});
    return {};
  }

  Result<attestation::Released> attest() {
    // The LAS first: the service's connection is then held for the shortest time.
    const std::unique_ptr<EvidenceSource> source = TRY(options_.open_evidence_source(las_address_));
    const TargetInfo target = TRY(source->target_info());
    AttestClient client = TRY(AttestClient::connect(client_options_, *identity_));
    const attestation::ReportData data = TRY(client.report_data(request_));
    const Report report = TRY(kernel_.report(target, data));
    Evidence evidence = TRY(source->quote(report));
    request_.quote = std::move(evidence.quote);
    request_.collateral = std::move(evidence.collateral);
    attestation::Released released = TRY(client.attest(request_));
    OPENSSL_cleanse(request_.one_time_password.data(), request_.one_time_password.size());
    // From now on only this very service may take the tags, pinned or not.
    client_options_.service_key = client.service_key();
    client_.emplace(std::move(client));
    return released;
  }

  Result<void> remember_epochs(ByteView configuration) {
    const boundary::EnclaveConfig config = TRY(boundary::decode_config(configuration));
    if (config.instance_id != instance_id_)
      return Error(Code::Malformed, "the configuration is another instance's");
    for (const boundary::MountConfig& mount : config.mounts) epochs_[mount.name] = mount.epoch;
    return {};
  }

  // --- while the program runs

  Outcome<void> serve() {
    for (;;) {
      Result<Bytes> bytes = kernel_.next_event();
      if (!bytes.ok()) return stop(std::move(bytes.error()));
      Result<boundary::AgentEvent> event = boundary::decode_event(*bytes);
      if (!event.ok()) return stop(std::move(event.error()));
      if (event->kind == boundary::AgentEvent::Kind::Exited) {
        // The tags are safe already; the notice only lets the service end the lease at once.
        if (client_) {
          const Result<void> told = client_->notify_exit(event->status);
          if (told.ok()) client_->close();
        }
        kernel_.acknowledge(event->sequence, {});
        return {};
      }
      const Result<void> published = publish(*event);
      kernel_.acknowledge(event->sequence, published.ok() ? std::string_view() : published.error().message());
    }
  }

  Result<void> publish(const boundary::AgentEvent& event) {
    std::vector<attestation::TagUpdate> updates;
    for (const boundary::TagChange& change : event.changes) {
      const auto epoch = epochs_.find(change.volume);
      if (epoch == epochs_.end())
        return Error(Code::Internal, "a tag of an unknown volume: " + change.volume);
      updates.push_back({change.volume, change.previous, change.next, epoch->second});
    }
    // Repeating the same batch is safe: the service takes a change it already has as done.
    const Deadline give_up_at = deadline_in(options_.retry_for);
    std::chrono::milliseconds pause{50};
    for (;;) {
      Result<void> done = attempt(updates);
      if (done.ok() || done.error().code() == Code::Integrity || done.error().code() == Code::Denied)
        return done;
      client_.reset();
      if (std::chrono::steady_clock::now() + pause > give_up_at) return done;
      std::this_thread::sleep_for(pause);
      pause = std::min(pause * 2, std::chrono::milliseconds(2000));
    }
  }

  Result<void> attempt(const std::vector<attestation::TagUpdate>& updates) {
    if (client_ && !client_->usable()) client_.reset();
    if (!client_) {
      AttestClient fresh = TRY(AttestClient::connect(client_options_, *identity_));
      TRY(fresh.resume(instance_id_));
      client_.emplace(std::move(fresh));
    }
    return client_->update_tags(updates);
  }

  Kernel& kernel_;
  const AgentOptions& options_;
  AttestRequest request_;
  std::string las_address_;
  attestation::AttestClientOptions client_options_;
  std::optional<crypto::TlsIdentity> identity_;
  std::optional<AttestClient> client_;
  ByteArray<16> instance_id_{};
  std::map<std::string, uint64_t> epochs_;  // volume -> lease epoch
};

}  // namespace

int run_agent(Kernel& kernel, const AgentOptions& options) { return Agent(kernel, options).run(); }

}  // namespace cloister::agent
