// The service's decisions, called as its listeners call it, over a real store.
#include "cas/service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "cas/cas_test_support.h"

namespace cloister::cas {
namespace {

using attestation::AttestRequest;
using attestation::Peer;
using attestation::Release;
using attestation::TagUpdate;
using boundary::EnclaveConfig;
using boundary::MountConfig;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::predecessor;
using testing::session_text;
using testing::TestFolder;
using testing::verdict_of;

constexpr crypto::Digest kOwner{1}, kOther{2};

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

// --- sessions

TEST_F(ServiceTest, AReplacementMustNameTheVersionInForce) {
  const crypto::Digest first = create(session_text("s"));
  EXPECT_FALSE(service_->create_session(session_text("s"), kOwner).value().has_value());
  const crypto::Digest second = create(session_text("s", predecessor(first)));
  EXPECT_NE(first, second);
  const auto stale = service_->create_session(session_text("s", predecessor(first), "A: b"), kOwner);
  ASSERT_FALSE(stale.ok());
  EXPECT_EQ(stale.error().code(), Code::NotFound);
  EXPECT_THAT(stale.error().message(),
              HasSubstr("Could not create successor session. Invalid previous session digest: "));
  EXPECT_FALSE(service_->create_session(session_text("new", predecessor(first)), kOwner).ok());
  EXPECT_EQ(service_->read_session("s", std::nullopt, kOwner)->hash, second);
  EXPECT_EQ(service_->read_session("s", first, kOwner)->text, session_text("s"));
  open();
  EXPECT_EQ(service_->read_session("s", first, kOwner)->text, session_text("s"));
  EXPECT_EQ(service_->read_session("s", std::nullopt, kOwner)->hash, second);
}

TEST_F(ServiceTest, OfTwoRacingReplacementsExactlyOneWins) {
  const crypto::Digest first = create(session_text("s"));
  std::atomic<int> won{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      const std::string text = session_text("s", predecessor(first), "N: \"" + std::to_string(i) + "\"");
      won += service_->create_session(text, kOwner).ok() ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(won, 1);
}

TEST_F(ServiceTest, ASessionIsNotFoundForStrangers) {
  const crypto::Digest hash = create(session_text("s"));
  const auto refused = service_->read_session("s", std::nullopt, kOther);
  ASSERT_FALSE(refused.ok());
  const auto absent = service_->read_session("t", std::nullopt, kOther);
  EXPECT_EQ(refused.error().code(), absent.error().code());
  EXPECT_EQ(refused.error().message(), "Session not found: s");
  EXPECT_FALSE(service_->read_session("s", hash, kOther).ok());
  EXPECT_FALSE(service_->read_session("s", std::nullopt, std::nullopt).ok());
  EXPECT_FALSE(service_->volumes("s", kOther).ok());
  EXPECT_FALSE(service_->events("s", kOther, 10).ok());
  EXPECT_FALSE(service_->events("s", std::nullopt, 10).ok());
  const auto stolen = service_->create_session(session_text("s", predecessor(hash)), kOther);
  EXPECT_EQ(stolen.error().code(), Code::NotFound) << "knowing the hash is no right";
}

TEST_F(ServiceTest, AnOlderVersionIsReadByWhomItAllowedToo) {
  const crypto::Digest first = create(session_text("s"));
  const crypto::Digest second =
      create(session_text("s", predecessor(first) + "access_policy: {read: [ANY]}\n"));
  EXPECT_TRUE(service_->read_session("s", second, kOther).ok());
  EXPECT_EQ(service_->read_session("s", first, kOther).error().code(), Code::NotFound);
  EXPECT_FALSE(service_->read_session("s", first, std::nullopt).ok());
  EXPECT_TRUE(service_->read_session("s", first, kOwner).ok());
  const crypto::Digest third = create(session_text("s", predecessor(second)));
  EXPECT_TRUE(service_->read_session("s", second, kOwner).ok());
  EXPECT_FALSE(service_->read_session("s", second, kOther).ok()) << "the version in force closed it";
  EXPECT_TRUE(service_->read_session("s", third, kOwner).ok());
}

TEST_F(ServiceTest, AccessPoliciesDecide) {
  const std::string keys = "access_policy: {read: [CREATOR, " + to_hex(kOther) + "], update: [NONE]}\n";
  const crypto::Digest hash = create(session_text("s", keys));
  EXPECT_TRUE(service_->read_session("s", std::nullopt, kOther).ok());
  EXPECT_FALSE(service_->read_session("s", std::nullopt, crypto::Digest{3}).ok());
  EXPECT_FALSE(service_->volumes("s", kOther).ok()) << "states and events are the owner's alone";
  const auto update = service_->create_session(session_text("s", predecessor(hash)), kOwner);
  EXPECT_EQ(update.error().code(), Code::Denied);
  create(session_text("open", "access_policy: {read: ANY}\n"));
  EXPECT_TRUE(service_->read_session("open", std::nullopt, std::nullopt).ok());
}

TEST_F(ServiceTest, TheNearestNamespaceDecidesWhoCreatesSessionsInIt) {
  create(session_text("team"));
  create(session_text("team/a"));
  const auto refused = service_->create_session(session_text("team/b/c"), kOther);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), Code::Denied);
  EXPECT_THAT(refused.error().message(), Not(HasSubstr("team"))) << "which namespace exists is not said";
  create(session_text("team/open", "access_policy: {create_sessions: [ANY]}\n"));
  EXPECT_TRUE(service_->create_session(session_text("team/open/x"), kOther).ok());
  EXPECT_TRUE(service_->create_session(session_text("unclaimed/x"), kOther).ok());
}

TEST_F(ServiceTest, SecretsAreMadeOnceAndKeptWhileTheyFit) {
  const crypto::Digest first = create(session_text("s"));
  const std::string shown = service_->public_values("s", std::nullopt).value().at("shown");
  EXPECT_EQ(shown.size(), 16u);
  EXPECT_EQ(service_->public_values("s", std::nullopt).value().size(), 1u) << "only what is exported";
  const crypto::Digest second = create(session_text("s", predecessor(first)));
  EXPECT_EQ(service_->public_values("s", std::nullopt).value().at("shown"), shown);
  std::string larger = session_text("s", predecessor(second));
  larger.replace(larger.find("size: 8"), 7, "size: 9");
  create(larger);
  EXPECT_EQ(service_->public_values("s", std::nullopt).value().at("shown").size(), 18u);
}

TEST_F(ServiceTest, AKeyCreatesSoManySessionsAndNoMore) {
  ServiceOptions options;
  options.max_sessions = 2;
  open(options);
  const crypto::Digest first = create(session_text("a"));
  create(session_text("b"));
  const auto refused = service_->create_session(session_text("c"), kOwner);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), Code::Denied);
  EXPECT_THAT(refused.error().message(), HasSubstr("has created 2 sessions"));
  EXPECT_FALSE(service_->create_session(session_text("b"), kOwner).value().has_value()) << "it exists";
  create(session_text("c"), kOther);
  create(session_text("a", predecessor(first)));
  open(options);
  EXPECT_EQ(service_->create_session(session_text("d"), kOwner).error().code(), Code::Denied);
}

TEST_F(ServiceTest, AKeyUploadsSoManyBytesAndNoMore) {
  const std::string text = session_text("a");
  ServiceOptions options;
  options.max_bytes = 2 * (text.size() + 16 + 8) + 100;  // two versions with their secrets
  open(options);
  const crypto::Digest first = create(text);
  const crypto::Digest second = create(session_text("a", predecessor(first)));
  const auto refused = service_->create_session(session_text("a", predecessor(second), "A: b"), kOwner);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), Code::Denied);
  EXPECT_EQ(service_->read_session("a", std::nullopt, kOwner)->hash, second);
}

// --- attestation

TEST_F(ServiceTest, ReleasesAFilledInConfiguration) {
  create(session_text("s"));
  const EnclaveConfig config = released();
  ASSERT_EQ(config.argv.size(), 4u);
  EXPECT_EQ(config.argv[0], "program");
  EXPECT_EQ(config.argv[1], "--first=one");
  EXPECT_EQ(config.argv[2].size(), 16u);
  EXPECT_EQ(config.environment[0], "SCONE_MODE=sim");
  EXPECT_EQ(config.environment[1], "PASSWORD=is " + config.argv[2] + "!");
  EXPECT_EQ(config.working_directory, "/work");
  ASSERT_EQ(config.files.size(), 1u);
  EXPECT_EQ(as_text(config.files[0].content.expose()),
            service_->public_values("s", std::nullopt).value().at("shown"));
  EXPECT_EQ(config.files[0].mode, 0400);
  const MountConfig& in = mount(config, "in");
  EXPECT_EQ(to_hex(in.key.expose()), std::string(64, '1'));
  EXPECT_EQ(to_hex(in.tag), std::string(32, '2'));
  EXPECT_FALSE(in.create);
  const MountConfig& out = mount(config, "out");
  EXPECT_TRUE(out.create);
  EXPECT_FALSE(equal_constant_time(out.key.expose(), ByteArray<32>{}));
  EXPECT_THAT(events(), HasSubstr("attested: service app from 192.0.2.1:5"));
}

TEST_F(ServiceTest, TheHostsArgumentsNameNoSecrets) {
  create(session_text("s"));
  host_arguments_ = {"$$SCONE::word$$ @@1"};
  EXPECT_EQ(released().argv[1], "--first=$$SCONE::word$$ @@1");
}

TEST_F(ServiceTest, AMissingHostArgumentIsNamed) {
  create(session_text("s"));
  host_arguments_ = {};
  const auto refused = attest();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message(), "host argument @@1 is missing");
}

TEST_F(ServiceTest, TheOwnerLearnsWhatWasWantedAndTheEnclaveDoesNot) {
  create(session_text("s"));
  const auto refused = attest(7, 'b');
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), Code::Denied);
  EXPECT_EQ(refused.error().message(), "The program enclave is not trustworthy (mrenclave)");
  EXPECT_THAT(events(),
              HasSubstr("denied: service app from 192.0.2.1:5: Unexpected enclave measurement (MRENCLAVE, " +
                        std::string(64, 'b') + ") - Expected " + std::string(64, 'a')));
  EXPECT_EQ(service_->connected_instances(), 0u);
}

TEST_F(ServiceTest, SimulationNeedsTheSessionsTolerationAndNoHardwareMode) {
  create(session_text("s", "", "SCONE_MODE: hw"));
  EXPECT_EQ(attest().error().message(), "The program enclave is not trustworthy (simulation-mode)");
  create(session_text("t", "", "SCONE_MODE: sim", "hyperthreading"));
  EXPECT_EQ(attest(7, 'a', "t/app").error().message(),
            "The program enclave is not trustworthy (simulation-mode)");
  EXPECT_THAT(events("t"),
              HasSubstr("would be allowed by security: {attestation: {tolerate: [simulation-mode]}}"));
}

TEST_F(ServiceTest, UnknownSessionsAndServicesLookTheSame) {
  create(session_text("s"));
  const auto session = attest(7, 'a', "other/app");
  const auto service = attest(7, 'a', "s/other");
  const auto neither = attest(7, 'a', "s");
  EXPECT_EQ(session.error().message(), service.error().message());
  EXPECT_EQ(session.error().message(), neither.error().message());
  EXPECT_EQ(session.error().code(), Code::NotFound);
}

TEST_F(ServiceTest, TheAccessTokenMustBeTheEnclaves) {
  std::string text = session_text("s");
  text.replace(text.find("security: {"), 11, "security: {service_access_token: open-sesame, ");
  create(text);
  EXPECT_EQ(attest().error().message(), "The program enclave is not trustworthy");
  AttestRequest request;
  request.subject = "s/app";
  request.host_arguments = {"one"};
  request.access_token = "open-sesame";
  EXPECT_TRUE(service_->on_attest(verdict_of('a'), request, peer(7)).ok());
}

TEST_F(ServiceTest, ARefusalWithMegabytesOfReasonsLeavesTheStoreReadable) {
  std::string list;
  for (int i = 0; i < 4096; ++i) {
    ByteArray<32> measurement{9};
    store_le(measurement.data() + 1, i);
    list += (list.empty() ? "" : ",") + to_hex(measurement);
  }
  std::string text = session_text("s");
  const std::string one = "mrenclaves: [" + std::string(64, 'a') + "]\n";
  text.replace(text.find(one), one.size(),
               "attestation: [{mrenclave: &m [" + list +
                   "]}, {mrenclave: *m}, {mrenclave: *m}, {mrenclave: *m}, " +
                   "{mrenclave: *m}, {mrenclave: *m}]\n");
  create(text);
  EXPECT_FALSE(attest().ok());
  open();
  EXPECT_THAT(events(), HasSubstr("denied: service app"));
}

TEST_F(ServiceTest, RefusalsCannotFloodTheJournal) {
  create(session_text("s"));
  const uint64_t before = store_->head().sequence;
  for (int i = 0; i < 200; ++i) EXPECT_FALSE(attest(7, 'b').ok());
  EXPECT_LE(store_->head().sequence - before, 40u);
}

TEST(TokenBuckets, RefillByTheTimeThatPasses) {
  TokenBuckets buckets(2, 50);
  EXPECT_EQ(buckets.take("a"), 0u);
  EXPECT_EQ(buckets.take("a"), 0u);
  EXPECT_FALSE(buckets.take("a").has_value());
  EXPECT_TRUE(buckets.take("b").has_value());
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  EXPECT_EQ(buckets.take("a"), 1u) << "and how many were left out";
}

// --- tags and leases

TEST_F(ServiceTest, TagsAreComparedAndSwapped) {
  create(session_text("s"));
  const EnclaveConfig config = released();
  EXPECT_TRUE(tags(config, {{"out", {}, {1}, 0}}).ok());
  EXPECT_TRUE(tags(config, {{"out", {1}, {2}, 0}}).ok());
  EXPECT_TRUE(tags(config, {{"out", {1}, {2}, 0}}).ok()) << "a retry";
  EXPECT_EQ(volume("out").updates, 2u);
  EXPECT_EQ(volume("out").tag, (Tag{2}));
  const Result<void> fork = tags(config, {{"out", {1}, {3}, 0}});
  ASSERT_FALSE(fork.ok());
  EXPECT_EQ(fork.error().code(), Code::Integrity);
  EXPECT_EQ(fork.error().message(), "The FSPF tag is not fresh - suspected replay attack");
  EXPECT_EQ(tags(config, {{"out", {9}, {2}, 0}}).error().code(), Code::Integrity) << "not that retry";
  EXPECT_THAT(events(), HasSubstr("refused: tags of service app"));
}

TEST_F(ServiceTest, ABatchIsAllOrNothing) {
  create(session_text("s"));
  const EnclaveConfig config = released();
  const Tag given = mount(config, "in").tag;
  ASSERT_TRUE(tags(config, {{"in", given, {5}, 0}, {"out", {}, {6}, 0}}).ok());
  EXPECT_FALSE(tags(config, {{"in", {5}, {7}, 0}, {"out", {9}, {8}, 0}}).ok());
  EXPECT_EQ(volume("in").tag, (Tag{5}));
  EXPECT_TRUE(tags(config, {{"in", {5}, {7}, 0}, {"out", {}, {6}, 0}}).ok()) << "half of it repeated";
  EXPECT_EQ(volume("in").tag, (Tag{7}));
}

TEST_F(ServiceTest, TheNextRunOpensTheNewestStateUnderANewEpoch) {
  create(session_text("s"));
  const EnclaveConfig first = released();
  ASSERT_TRUE(tags(first, {{"out", {}, {1}, 0}}).ok());
  service_->on_exit(first.instance_id, peer(7), 0);
  const EnclaveConfig second = released(8);
  EXPECT_FALSE(mount(second, "out").create);
  EXPECT_EQ(mount(second, "out").tag, (Tag{1}));
  EXPECT_TRUE(equal_constant_time(mount(second, "out").key.expose(), mount(first, "out").key.expose()));
  EXPECT_GT(mount(second, "out").epoch, mount(first, "out").epoch);
  EXPECT_EQ(tags(first, {{"out", {1}, {2}, 0}}).error().code(), Code::Denied) << "it has exited";
  EXPECT_THAT(events(), HasSubstr("exited: service app"));
}

TEST_F(ServiceTest, ASecondWriterWaitsForTheFirstOnesEnd) {
  create(session_text("s"));
  const EnclaveConfig first = released(7);
  const auto second = attest(8);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), Code::Denied);
  EXPECT_THAT(second.error().message(), HasSubstr("in use by another enclave"));
  EXPECT_TRUE(volume("out").in_use);
  service_->on_disconnect(first.instance_id, peer(7));
  EXPECT_FALSE(volume("out").in_use);
  const EnclaveConfig third = released(9);
  EXPECT_EQ(service_->on_resume(first.instance_id, peer(7)).error().code(), Code::Denied);
  EXPECT_TRUE(tags(third, {{"out", {}, {3}, 0}}, 9).ok());
}

TEST_F(ServiceTest, OfManyWritersAtOnceOneIsGranted) {
  create(session_text("s"));
  std::atomic<int> granted{0};
  std::vector<std::thread> threads;
  for (uint8_t i = 10; i < 18; ++i) {
    threads.emplace_back([&, i] { granted += attest(i).ok() ? 1 : 0; });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(granted, 1);
}

TEST_F(ServiceTest, AnInstanceResumesWithItsOwnKeyAlsoAfterARestart) {
  create(session_text("s"));
  const EnclaveConfig config = released(7);
  ASSERT_TRUE(tags(config, {{"out", {}, {1}, 0}}).ok());
  open();
  EXPECT_FALSE(tags(config, {{"out", {1}, {2}, 0}}).ok()) << "not connected";
  EXPECT_EQ(service_->on_resume(config.instance_id, peer(8)).error().code(), Code::Denied);
  ASSERT_TRUE(service_->on_resume(config.instance_id, peer(7)).ok());
  EXPECT_TRUE(tags(config, {{"out", {}, {1}, 0}}).ok()) << "the batch it did not know about";
  EXPECT_TRUE(tags(config, {{"out", {1}, {2}, 0}}).ok());
  EXPECT_FALSE(attest(9).ok()) << "it writes";
}

TEST_F(ServiceTest, TagsOfOthersVolumesAndKeysAreRefused) {
  create(session_text("s"));
  const EnclaveConfig config = released(7);
  EXPECT_EQ(tags(config, {{"other", {}, {1}, 5}}).error().code(), Code::Denied);
  EXPECT_EQ(tags(config, {{"out", {}, {1}, 99}}).error().code(), Code::Denied);
  EXPECT_EQ(tags(config, {{"out", {}, {1}, 0}}, 8).error().code(), Code::Denied);
  EXPECT_FALSE(volume("out").tag.has_value());
}

TEST_F(ServiceTest, AnOwnerWhoReplacesAVolumesTagStartsFromItAndFencesTheWriter) {
  const crypto::Digest first = create(session_text("s"));
  const EnclaveConfig config = released();
  ASSERT_TRUE(tags(config, {{"in", mount(config, "in").tag, {5}, 0}, {"out", {}, {6}, 0}}).ok());
  const crypto::Digest second = create(session_text("s", predecessor(first), "A: b"));
  EXPECT_EQ(volume("in").tag, (Tag{5})) << "the text gives the same key and tag";
  std::string other = session_text("s", predecessor(second));
  other.replace(other.find(std::string(32, '2')), 32, std::string(32, '3'));
  create(other);
  EXPECT_EQ(to_hex(*volume("in").tag), std::string(32, '3'));
  EXPECT_EQ(volume("out").tag, (Tag{6}));
  EXPECT_EQ(tags(config, {{"in", {5}, {7}, 0}}).error().code(), Code::Denied);
}

// Two services over the volumes of session_text: `app` as it is, `side` with other update policies.
std::string two_services(const std::string& out_policy, const std::string& more = {}) {
  std::string text = session_text("s", more);
  text.replace(text.find("secrets:\n"), 0,
               "  - {name: side, image_name: side_image, mrenclaves: [" + std::string(64, 'a') +
                   "], command: side}\n");
  text.replace(text.find("security:"), 0,
               "  - name: side_image\n"
               "    volumes: [{name: in, path: /in, update_policy: no_rollback_protection},"
               " {name: out, path: /out, update_policy: " +
                   out_policy + "}]\n");
  return text;
}

TEST_F(ServiceTest, AMountBesideTheWriterDoesNotEndItsLease) {
  create(two_services("ephemeral"));
  const EnclaveConfig writer = released(7);
  ASSERT_TRUE(tags(writer, {{"out", {}, {1}, 0}}).ok());
  const EnclaveConfig side = released(8, "s/side");
  EXPECT_NE(mount(side, "out").epoch, mount(writer, "out").epoch) << "epochs are of one mount";
  const Result<void> still = tags(writer, {{"out", {1}, {2}, 0}});
  EXPECT_TRUE(still.ok()) << still.error().message();
  EXPECT_EQ(volume("out").tag, (Tag{2}));
}

TEST_F(ServiceTest, AnUnprotectedMountsTagNeverReplacesTheWriters) {
  create(two_services("no_rollback_protection"));
  const EnclaveConfig side = released(8, "s/side");
  EXPECT_TRUE(tags(side, {{"out", {}, {1}, 0}}, 8).ok());
  EXPECT_EQ(volume("out").tag, (Tag{1}));
  const EnclaveConfig writer = released(7);
  EXPECT_EQ(mount(writer, "out").tag, (Tag{1}));
  const EnclaveConfig beside = released(9, "s/side");
  EXPECT_TRUE(tags(side, {{"out", {1}, {5}, 0}}, 8).ok());
  EXPECT_TRUE(tags(beside, {{"out", {1}, {6}, 0}}, 9).ok());
  EXPECT_EQ(volume("out").tag, (Tag{1})) << "acknowledged, not kept";
  ASSERT_TRUE(tags(writer, {{"out", {1}, {2}, 0}}).ok());
  service_->on_exit(writer.instance_id, peer(7), 0);
  EXPECT_TRUE(tags(side, {{"out", {1}, {5}, 0}}, 8).ok());
  EXPECT_EQ(volume("out").tag, (Tag{2})) << "its state is older than the writer's";
  EXPECT_TRUE(tags(beside, {{"out", {2}, {6}, 0}}, 9).ok());
  EXPECT_EQ(volume("out").tag, (Tag{6}));
}

TEST_F(ServiceTest, AVolumesNewTagFencesUnprotectedMountsToo) {
  const crypto::Digest first = create(two_services("ephemeral"));
  const EnclaveConfig side = released(8, "s/side");
  ASSERT_TRUE(tags(side, {{"in", {9}, {5}, 0}}, 8).ok());
  std::string other = two_services("ephemeral", predecessor(first));
  other.replace(other.find(std::string(32, '2')), 32, std::string(32, '3'));
  create(other);
  EXPECT_EQ(tags(side, {{"in", {5}, {6}, 0}}, 8).error().code(), Code::Denied);
  EXPECT_EQ(to_hex(*volume("in").tag), std::string(32, '3'));
  EXPECT_TRUE(tags(released(9, "s/side"), {{"in", {5}, {7}, 0}}, 9).ok());
}

TEST_F(ServiceTest, RowsOfInstancesThatEndedWithoutANoticeGo) {
  const auto has_row = [&](const EnclaveConfig& config) {
    return store_->get(kInstances, to_hex(config.instance_id)).value().has_value();
  };
  std::string text = session_text("s");
  text.replace(text.find("{name: out, path: /out}"), 23, "{name: out, path: /out, update_policy: ephemeral}");
  text.replace(text.find("{name: in, path: /in}"), 21,
               "{name: in, path: /in, update_policy: no_rollback_protection}");
  create(text);
  const EnclaveConfig first = released(7);
  service_->on_disconnect(first.instance_id, peer(7));
  const EnclaveConfig second = released(8);
  EXPECT_TRUE(has_row(first)) << "it may come back";
  EXPECT_TRUE(service_->on_resume(first.instance_id, peer(7)).ok());

  ServiceOptions impatient;
  impatient.resume_time = std::chrono::milliseconds(0);
  open(impatient);
  ASSERT_TRUE(service_->on_resume(second.instance_id, peer(8)).ok());
  const EnclaveConfig third = released(9);
  EXPECT_FALSE(has_row(first));
  EXPECT_TRUE(has_row(second)) << "it is connected";
  EXPECT_EQ(service_->on_resume(first.instance_id, peer(7)).error().code(), Code::Denied);
  service_->on_exit(third.instance_id, peer(9), 0);
  EXPECT_FALSE(has_row(third));
}

TEST_F(ServiceTest, ARowWhoseLeaseTheOwnerEndedGoesToo) {
  ServiceOptions impatient;
  impatient.resume_time = std::chrono::milliseconds(0);
  open(impatient);
  crypto::Digest hash = create(session_text("s"));
  std::vector<EnclaveConfig> runs;
  for (const char* digit : {"3", "4", "5"}) {
    runs.push_back(released(7));
    service_->on_disconnect(runs.back().instance_id, peer(7));
    std::string text = session_text("s", predecessor(hash));
    text.replace(text.find(std::string(32, '2')), 32, std::string(32, *digit));
    hash = create(text);
  }
  EXPECT_FALSE(store_->get(kInstances, to_hex(runs[0].instance_id)).value().has_value());
  EXPECT_FALSE(store_->get(kInstances, to_hex(runs[1].instance_id)).value().has_value());
}

TEST(Records, AVolumeOfTheFirstFormatKeepsItsWriter) {
  VolumeRecord record;
  record.epoch = 5;
  record.writer = {1};
  const SecretBytes now = encode(record);
  Bytes old(now.expose().begin(), now.expose().end() - 16);
  old[0] = 1;
  const VolumeRecord decoded = decode_volume(old).value();
  EXPECT_EQ(decoded.writer_epoch, 5u);
  EXPECT_EQ(decoded.writer, record.writer);
  EXPECT_EQ(decoded.reset_epoch, 0u);
  old[0] = 3;
  EXPECT_EQ(decode_volume(old).error().code(), Code::Malformed);
}

TEST_F(ServiceTest, UpdatePoliciesDiffer) {
  std::string text = session_text("s");
  text.replace(text.find("{name: out, path: /out}"), 23, "{name: out, path: /out, update_policy: ephemeral}");
  text.replace(text.find("{name: in, path: /in}"), 21,
               "{name: in, path: /in, update_policy: no_rollback_protection}");
  create(text);
  const EnclaveConfig first = released(7);
  const EnclaveConfig second = released(8);  // no lease to wait for
  EXPECT_TRUE(mount(second, "out").create);
  EXPECT_FALSE(equal_constant_time(mount(first, "out").key.expose(), mount(second, "out").key.expose()));
  EXPECT_NE(mount(first, "in").epoch, mount(second, "in").epoch);
  EXPECT_TRUE(tags(first, {{"out", {}, {1}, 0}, {"in", {9}, {5}, 0}}).ok());
  EXPECT_FALSE(volume("out").tag.has_value());
  EXPECT_EQ(volume("in").tag, (Tag{5}));
  EXPECT_TRUE(tags(second, {{"in", {8}, {6}, 0}}, 8).ok());
}

}  // namespace
}  // namespace cloister::cas
