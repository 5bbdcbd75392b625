#include "cas/server.h"

#include "cas/sqlite_store.h"

namespace cloister::cas {
namespace {

collateral::CacheOptions cache_options(const CasOptions& options) {
  collateral::CacheOptions out = options.collateral;
  if (out.folder.empty()) out.folder = options.state / "collateral";
  out.anchors.clear();
  for (const attestation::TrustAnchor& anchor : options.evidence.anchors) {
    if (!anchor.simulation) out.anchors.push_back(anchor);
  }
  out.clock = options.evidence.clock;
  out.minimum_evaluation_number = options.evidence.minimum_tcb_evaluation_number;
  return out;
}

attestation::QuoteVerifierOptions evidence_options(const CasOptions& options, CollateralKeeper& keeper) {
  attestation::QuoteVerifierOptions out = options.evidence;
  out.find_collateral = [&keeper](ByteView quote) { return keeper.find(quote); };
  return out;
}

}  // namespace

class CasServer::Impl {
 public:
  Impl(const CasOptions& options, StateFolder state, std::unique_ptr<Store> store,
       std::unique_ptr<CollateralKeeper> keeper)
      : state_(std::move(state)),
        store_(std::move(store)),
        service_(*store_, options.service),
        api_(service_, *store_, state_.identity().key.spki_sha256(), options.api),
        keeper_(std::move(keeper)),
        verifier_(evidence_options(options, *keeper_)) {}

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
  std::unique_ptr<CollateralKeeper> keeper_;
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
  std::unique_ptr<CollateralKeeper> keeper =
      TRY(CollateralKeeper::start(cache_options(options), options.collateral_interval));
  auto impl = std::make_unique<Impl>(options, std::move(state), std::move(store), std::move(keeper));
  TRY(impl->listen(options));
  return std::unique_ptr<CasServer>(new CasServer(std::move(impl)));
}

const crypto::Digest& CasServer::key_hash() const { return impl_->state().identity().key.spki_sha256(); }
const std::string& CasServer::api_address() const { return impl_->http().address(); }
const std::string& CasServer::enclave_address() const { return impl_->enclaves().address(); }

}  // namespace cloister::cas
