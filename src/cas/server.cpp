#include "cas/server.h"

#include "cas/sqlite_store.h"

namespace cloister::cas {

class CasServer::Impl {
 public:
  Impl(const CasOptions& options, StateFolder state, std::unique_ptr<Store> store)
      : state_(std::move(state)),
        store_(std::move(store)),
        service_(*store_, options.service),
        api_(service_, *store_, state_.identity().key.spki_sha256(), options.api),
        verifier_(options.evidence) {}

  Result<void> listen(const CasOptions& options) {
    http::ServerOptions http;
    http.address = options.api_address;
    http.tls = state_.identity();
    http.ask_client_certificate = true;
    http.server_name = "cloister-cas";
    http_ = TRY(http::Server::start(http, [this](http::Exchange& exchange) { api_.handle(exchange); }));
    attestation::AttestServerOptions enclaves;
    enclaves.address = options.enclave_address;
    enclaves_ = TRY(attestation::AttestServer::start(enclaves, state_.identity(), verifier_, service_));
    return {};
  }

  const StateFolder& state() const { return state_; }
  const http::Server& http() const { return *http_; }
  const attestation::AttestServer& enclaves() const { return *enclaves_; }

 private:
  // Destroyed from the last to the first: listeners, then what they call.
  StateFolder state_;
  std::unique_ptr<Store> store_;
  Service service_;
  Api api_;
  attestation::QuoteVerifier verifier_;
  std::unique_ptr<http::Server> http_;
  std::unique_ptr<attestation::AttestServer> enclaves_;
};

CasServer::CasServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CasServer::~CasServer() = default;

Result<std::unique_ptr<CasServer>> CasServer::start(const CasOptions& options) {
  StateFolder state = TRY(StateFolder::open(options.state));
  SqliteStoreOptions store_options;
  store_options.path = state.database();
  std::unique_ptr<Store> store =
      TRY(SqliteStore::open(store_options, state.database_key(), state.identity().key));
  auto impl = std::make_unique<Impl>(options, std::move(state), std::move(store));
  TRY(impl->listen(options));
  return std::unique_ptr<CasServer>(new CasServer(std::move(impl)));
}

const crypto::Digest& CasServer::key_hash() const { return impl_->state().identity().key.spki_sha256(); }
const std::string& CasServer::api_address() const { return impl_->http().address(); }
const std::string& CasServer::enclave_address() const { return impl_->enclaves().address(); }

}  // namespace cloister::cas
