// For the tests of the service's decisions: it is called as its listeners call it, over a real store.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cas/cas_test_support.h"

namespace cloister::cas {

using attestation::AttestRequest;
using attestation::Peer;
using attestation::Release;
using attestation::TagUpdate;
using boundary::EnclaveConfig;
using boundary::MountConfig;
using testing::session_text;
using testing::TestFolder;
using testing::verdict_of;

inline constexpr crypto::Digest kOwner{1}, kOther{2};

class ServiceTest : public ::testing::Test {
 protected:
  void SetUp() override { open(); }
  void open(const ServiceOptions& with = {}) {
    service_.reset();
    store_.reset();
    SqliteStoreOptions options;
    options.path = folder_.path / "cas.db";
    store_ = SqliteStore::open(options, key_, signer_).value();
    service_ = std::make_unique<Service>(*store_, with);
  }
  crypto::Digest create(const std::string& text, const crypto::Digest& client = kOwner) {
    const auto hash = service_->create_session(text, client);
    EXPECT_TRUE(hash.ok()) << hash.error().message();
    return hash.ok() && *hash ? **hash : crypto::Digest{};
  }
  static Peer peer(uint8_t key) { return {crypto::Digest{key}, "192.0.2.1:5"}; }
  Result<Release> attest(uint8_t key = 7, char measurement = 'a', const std::string& subject = "s/app") {
    AttestRequest request;
    request.subject = subject;
    request.host_arguments = host_arguments_;
    return service_->on_attest(verdict_of(measurement), request, peer(key));
  }
  // Attests; checks that it was released.
  EnclaveConfig released(uint8_t key = 7, const std::string& subject = "s/app") {
    auto release = attest(key, 'a', subject);
    EXPECT_TRUE(release.ok()) << release.error().message();
    if (!release.ok()) return {};
    auto config = boundary::decode_config(release->configuration.expose());
    EXPECT_TRUE(config.ok()) << config.error().message();
    EXPECT_EQ(config->instance_id, release->instance_id);
    return std::move(*config);
  }
  static const MountConfig& mount(const EnclaveConfig& config, const std::string& name) {
    for (const MountConfig& one : config.mounts) {
      if (one.name == name) return one;
    }
    ADD_FAILURE() << "no volume " << name;
    static const MountConfig none;
    return none;
  }
  Result<void> tags(const EnclaveConfig& config, std::vector<TagUpdate> updates, uint8_t key = 7) {
    for (TagUpdate& update : updates) {
      if (update.epoch == 0) update.epoch = mount(config, update.volume).epoch;
    }
    return service_->on_tags(config.instance_id, peer(key), updates);
  }
  std::string events(const std::string& session = "s") {
    std::string text;
    const auto list = service_->events(session, kOwner, 1000).value();
    for (const JournalEvent& event : list) {
      text += event.kind + ": " + event.text + "\n";
    }
    return text;
  }
  VolumeSummary volume(const std::string& name) {
    const auto list = service_->volumes("s", kOwner).value();
    for (const VolumeSummary& summary : list) {
      if (summary.name == name) return summary;
    }
    ADD_FAILURE() << "no volume " << name;
    return {};
  }

  TestFolder folder_;
  Key256 key_{ByteArray<32>{1, 2, 3}};
  crypto::KeyPair signer_ = crypto::KeyPair::generate().value();
  std::vector<std::string> host_arguments_ = {"one"};
  std::unique_ptr<SqliteStore> store_;
  std::unique_ptr<Service> service_;
};

}  // namespace cloister::cas
