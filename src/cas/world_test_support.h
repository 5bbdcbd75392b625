// For tests and benchmarks from end to end: a simulated machine with its quoting PKI, a CAS on free ports,
// and enclaves that attest to it over the real protocol with real (simulated) quotes.
#pragma once

#include "attestation/attest_client.h"
#include "attestation/sim_pki.h"
#include "cas/cas_test_support.h"
#include "cas/client.h"
#include "cas/server.h"

namespace cloister::cas::testing {

class World {
 public:
  World()
      : platform_(sgx::SimPlatform::open(folder.path / "machine").value()),
        pki_(attestation::SimPki::open(folder.path / "pki", platform_).value()) {
    const std::string bundle =
        attestation::collateral_bundle_json(pki_.collateral(std::time(nullptr)).value());
    collateral_.assign(bundle.begin(), bundle.end());
  }

  CasOptions options(bool trust_simulation = true) {
    CasOptions out;
    out.state = folder.path / "state";
    out.api_address = out.enclave_address = "127.0.0.1:0";
    out.api.version = "test";
    if (trust_simulation) out.evidence.anchors.push_back(pki_.anchor());
    return out;
  }
  void start(const CasOptions& with) {
    server.reset();
    server = CasServer::start(with).value();
  }
  void start() { start(options()); }

  Client client(const crypto::TlsIdentity& who) {
    return Client::connect(server->api_address(), server->key_hash(), who).value();
  }

  const sgx::SimPlatform& platform() const { return platform_; }
  const attestation::SimPki& pki() const { return pki_; }
  const Bytes& collateral() const { return collateral_; }  // as the LAS would attach it

  TestFolder folder;
  std::unique_ptr<CasServer> server;
  crypto::TlsIdentity owner = attestation::testing::make_identity("owner");
  crypto::TlsIdentity stranger = attestation::testing::make_identity("stranger");

 private:
  sgx::SimPlatform platform_;
  attestation::SimPki pki_;
  Bytes collateral_;
};

// What the agent does.
class Enclave {
 public:
  Enclave(const World& world, char measurement, std::string address, const crypto::Digest& service_key)
      : world_(world), identity_(attestation::testing::make_identity("instance")) {
    secs_.attributes.flags = sgx::kFlagInit | sgx::kFlagMode64;
    const ByteArray<32> mrenclave = array_from_hex<32>(measurement_hex(measurement)).value();
    std::copy(mrenclave.begin(), mrenclave.end(), secs_.mrenclave);
    options_.address = std::move(address);
    options_.service_key = service_key;
  }
  explicit Enclave(const World& world, char measurement = 'a')
      : Enclave(world, measurement, world.server->enclave_address(), world.server->key_hash()) {}

  Result<void> attest(const std::string& subject = "s/app") {
    client_.reset();
    attestation::AttestClient client = TRY(attestation::AttestClient::connect(options_, identity_));
    attestation::AttestRequest request;
    request.subject = subject;
    request.host_arguments = {"one"};
    const attestation::ReportData data = TRY(client.report_data(request));
    request.quote =
        TRY(world_.pki().quote(world_.platform().make_report(secs_, world_.pki().target_info(), data)));
    request.collateral = world_.collateral();
    attestation::Released released = TRY(client.attest(request));
    config = TRY(boundary::decode_config(released.configuration.expose()));
    client_.emplace(std::move(client));
    return {};
  }
  Result<void> resume(const std::string& address) {
    client_.reset();
    options_.address = address;
    attestation::AttestClient client = TRY(attestation::AttestClient::connect(options_, identity_));
    TRY(client.resume(config.instance_id));
    client_.emplace(std::move(client));
    return {};
  }
  Result<void> publish(const std::string& volume, const Tag& previous, const Tag& next) {
    return client_->update_tags({{volume, previous, next, epoch(volume)}});
  }
  Result<void> exit(int32_t status) { return client_->notify_exit(status); }
  void crash() { client_.reset(); }

  uint64_t epoch(const std::string& volume) const {
    for (const boundary::MountConfig& mount : config.mounts) {
      if (mount.name == volume) return mount.epoch;
    }
    return 0;
  }

  boundary::EnclaveConfig config;

 private:
  const World& world_;
  crypto::TlsIdentity identity_;
  sgx::Secs secs_{};
  attestation::AttestClientOptions options_;
  std::optional<attestation::AttestClient> client_;
};

inline Tag tag_of(uint64_t number) {
  Tag tag{};
  store_le(tag.data(), number);
  tag[15] = 1;
  return tag;
}

}  // namespace cloister::cas::testing
