// The service's decisions about sessions and attestation.
#include <thread>

#include "cas/service_test_support.h"

namespace cloister::cas {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing::predecessor;

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
  EXPECT_EQ(config.working_directory, "/data");
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

TEST(SessionCache, CountsASessionOnce) {
  SessionCache cache;
  auto large = std::make_shared<policy::Session>();
  large->canonical.assign(size_t{10} << 20, 'x');
  cache.add({1}, std::make_shared<policy::Session>());
  for (int i = 0; i < 4; ++i) cache.add({2}, large);  // by as many threads that found it missing
  EXPECT_NE(cache.find({1}), nullptr) << "10 MiB are less than its limit";
  for (uint8_t i = 3; i < 6; ++i) cache.add({i}, large);
  EXPECT_EQ(cache.find({1}), nullptr);
  EXPECT_NE(cache.find({5}), nullptr);
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

TEST_F(ServiceTest, AStrangerCannotWriteADenialOfItsOwn) {
  create(session_text("s"));
  const std::string forged =
      "s/app from 10.0.0.1: debug-mode - Expected x (would be allowed by security: {attestation: {tolerate: "
      "[debug-mode]}})";
  EXPECT_FALSE(attest(7, 'a', forged).ok());
  service_->on_refused(peer(8), forged, attestation::DenialCode::EvidenceInvalid,
                       Error(Code::Integrity, "quote signature"));
  EXPECT_EQ(events().find("would be allowed"), std::string::npos) << events();
  EXPECT_THAT(events(), HasSubstr("service (of no possible name) from 192.0.2.1:5: the session has no such"));
  EXPECT_THAT(events(), HasSubstr("evidence invalid: quote signature"));
  service_->on_refused(peer(8), "s/other", attestation::DenialCode::EvidenceInvalid,
                       Error(Code::Integrity, "quote signature"));
  EXPECT_THAT(events(), HasSubstr("service other from"));
}

TEST_F(ServiceTest, WhatProvesNothingUsesUpNoRoomForDenials) {
  create(session_text("s"));
  for (int i = 0; i < 100; ++i) {
    service_->on_refused(peer(8), "s/app", attestation::DenialCode::EvidenceInvalid,
                         Error(Code::Integrity, "quote signature"));
  }
  EXPECT_FALSE(attest(7, 'b').ok());
  EXPECT_THAT(events(), HasSubstr("denied: service app from 192.0.2.1:5: Unexpected enclave measurement"));
}

}  // namespace
}  // namespace cloister::cas
