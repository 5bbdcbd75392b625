// The whole service over its real listeners: owners over HTTPS, enclaves over the attestation protocol with
// simulated evidence.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "cas/world_test_support.h"

namespace cloister::cas {
namespace {

using testing::Enclave;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::session_text;
using testing::tag_of;
using testing::World;

class CasTest : public ::testing::Test {
 protected:
  void SetUp() override { world_.start(); }

  std::string create(const std::string& text) {
    auto hash = world_.client(world_.owner).create_session(text);
    EXPECT_TRUE(hash.ok()) << hash.error().message();
    return hash.ok() ? *hash : "";
  }
  VolumeState volume(const std::string& name, const std::string& session = "s") {
    const auto volumes = world_.client(world_.owner).volumes(session);
    EXPECT_TRUE(volumes.ok()) << volumes.error().message();
    for (const VolumeState& state : *volumes) {
      if (state.name == name) return state;
    }
    ADD_FAILURE() << "no volume " << name;
    return {};
  }
  std::string events(const std::string& session = "s") { return events_of(world_.owner, session); }
  std::string events_of(const crypto::TlsIdentity& who, const std::string& session = "s") {
    const auto list = world_.client(who).events(session);
    EXPECT_TRUE(list.ok()) << list.error().message();
    std::string text;
    for (const Client::Event& event : *list) text += event.kind + ": " + event.text + "\n";
    return text;
  }
  // Until the service has noticed that a connection ended.
  template <class Condition>
  static bool eventually(const Condition& condition) {
    for (int i = 0; i < 500; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  World world_;
};

TEST_F(CasTest, FromSessionToTheNewestTag) {
  const std::string hash = create(session_text("s"));
  const auto read = world_.client(world_.owner).read_session("s");
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_EQ(read->first, session_text("s"));
  EXPECT_EQ(read->second, hash);
  EXPECT_FALSE(volume("out").tag.has_value());

  Enclave enclave(world_);
  const Result<void> attested = enclave.attest();
  ASSERT_TRUE(attested.ok()) << attested.error().message();
  EXPECT_EQ(enclave.config.argv[1], "--first=one");
  ASSERT_TRUE(enclave.publish("out", {}, tag_of(1)).ok());
  ASSERT_TRUE(enclave.publish("out", tag_of(1), tag_of(2)).ok());
  EXPECT_TRUE(volume("out").in_use);
  ASSERT_TRUE(enclave.exit(7).ok());
  EXPECT_EQ(volume("out").tag, tag_of(2));
  EXPECT_EQ(volume("out").updates, 2u);
  EXPECT_FALSE(volume("out").in_use);
  EXPECT_THAT(events(), HasSubstr("status 7"));
}

TEST_F(CasTest, ARefusedEnclaveIsExplainedToTheOwnerOnly) {
  create(session_text("s"));
  Enclave enclave(world_, 'b');
  const Result<void> refused = enclave.attest();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), Code::Denied);
  EXPECT_EQ(refused.error().message(), "the CAS refuses: The program enclave is not trustworthy (mrenclave)");
  EXPECT_THAT(events(),
              HasSubstr("(MRENCLAVE, " + std::string(64, 'b') + ") - Expected " + std::string(64, 'a')));
  EXPECT_FALSE(world_.client(world_.stranger).events("s").ok());
}

TEST_F(CasTest, WhoReplacesASessionReadsNoEventsOfItsOwnerBefore) {
  const auto text = [&](const std::string& predecessor, const std::string& environment) {
    return session_text(
        "s",
        (predecessor.empty() ? "" : "predecessor: " + predecessor + "\n") + "access_policy: {update: ANY}\n",
        "SCONE_MODE: sim, " + environment);
  };
  const auto count = [](const std::string& all, const std::string& what) {
    size_t found = 0;
    for (size_t at = all.find(what); at != std::string::npos; at = all.find(what, at + 1)) ++found;
    return found;
  };
  const std::string first = create(text("", "A: owners"));
  Enclave running(world_);
  ASSERT_TRUE(running.attest().ok());
  EXPECT_FALSE(Enclave(world_, 'b').attest().ok());
  EXPECT_FALSE(Enclave(world_, 'b').attest("s/nobody").ok());
  EXPECT_FALSE(world_.client(world_.stranger).events("s").ok());

  const auto second = world_.client(world_.stranger).create_session(text(first, "A: strangers"));
  ASSERT_TRUE(second.ok()) << second.error().message();
  std::string strangers = events_of(world_.stranger), owners = events();
  EXPECT_EQ(count(strangers, "\n"), 1u) << strangers;
  EXPECT_EQ(strangers.find("updated: "), 0u) << strangers;
  EXPECT_EQ(count(owners, "denied: "), 2u) << owners;
  EXPECT_THAT(owners, HasSubstr("uploaded by key " + to_hex(world_.stranger.certificate.spki_sha256())));

  // What the first owner's enclave does is still his to know, and who is refused now is not.
  ASSERT_TRUE(running.publish("out", {}, tag_of(1)).ok());
  EXPECT_FALSE(running.publish("out", tag_of(2), tag_of(3)).ok());
  ASSERT_TRUE(running.exit(7).ok());
  EXPECT_FALSE(Enclave(world_, 'c').attest().ok());
  Enclave crashed(world_);
  ASSERT_TRUE(crashed.attest().ok());
  crashed.crash();
  EXPECT_TRUE(eventually([&] { return count(events_of(world_.stranger), "disconnected: ") == 1; }));
  strangers = events_of(world_.stranger);
  owners = events();
  for (const char* kind : {"tags: ", "refused: ", "exited: "}) {
    EXPECT_EQ(count(owners, kind), 1u) << kind << owners;
    EXPECT_EQ(count(strangers, kind), 0u) << kind << strangers;
  }
  EXPECT_EQ(count(owners, "denied: "), 2u) << owners;
  EXPECT_EQ(count(owners, "attested: "), 1u) << owners;
  EXPECT_EQ(count(owners, "disconnected: "), 0u) << owners;
  EXPECT_EQ(count(strangers, "denied: "), 1u) << strangers;
  EXPECT_THAT(strangers, HasSubstr(std::string(64, 'c')));
  EXPECT_EQ(count(strangers, "attested: "), 1u) << strangers;

  // Also of evidence that is worth nothing reads who owned the session then; and after a start.
  const std::string third = create(text(*second, "A: owners again"));
  world_.start(world_.options(false));
  EXPECT_FALSE(Enclave(world_).attest().ok());
  EXPECT_EQ(count(events(), "evidence invalid"), 1u) << events();
  EXPECT_EQ(count(events(), std::string(64, 'c')), 0u) << events();
  EXPECT_EQ(count(events_of(world_.stranger), "evidence invalid"), 0u);
  EXPECT_EQ(count(events_of(world_.stranger), "session hash " + third), 1u) << "that it was replaced";
}

TEST_F(CasTest, SimulationIsRefusedUnlessItsRootIsTrustedHere) {
  create(session_text("s"));
  world_.start(world_.options(false));
  Enclave enclave(world_);
  const Result<void> refused = enclave.attest();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message(), "the CAS refuses: the evidence is not accepted");
  EXPECT_THAT(events(), HasSubstr("unproven: service app"));
}

TEST_F(CasTest, SimulationIsRefusedWhenTheSessionWantsHardware) {
  create(session_text("s", "", "SCONE_MODE: hw"));
  EXPECT_THAT(Enclave(world_).attest().error().message(), HasSubstr("(simulation-mode)"));
  create(session_text("t", "", "SCONE_MODE: sim", "hyperthreading"));
  EXPECT_THAT(Enclave(world_).attest("t/app").error().message(), HasSubstr("(simulation-mode)"));
}

TEST_F(CasTest, AForkIsFoundOut) {
  create(session_text("s"));
  Enclave enclave(world_);
  ASSERT_TRUE(enclave.attest().ok());
  ASSERT_TRUE(enclave.publish("out", {}, tag_of(1)).ok());
  ASSERT_TRUE(enclave.publish("out", tag_of(1), tag_of(2)).ok());
  const Result<void> fork = enclave.publish("out", tag_of(1), tag_of(3));
  ASSERT_FALSE(fork.ok());
  EXPECT_EQ(fork.error().code(), Code::Integrity);
  EXPECT_THAT(fork.error().message(), HasSubstr("The FSPF tag is not fresh - suspected replay attack"));
  EXPECT_EQ(volume("out").tag, tag_of(2));
}

TEST_F(CasTest, ASecondWriterIsRefusedUntilTheFirstOnesConnectionEnds) {
  create(session_text("s"));
  Enclave first(world_), second(world_);
  ASSERT_TRUE(first.attest().ok());
  const Result<void> refused = second.attest();
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message(), HasSubstr("in use by another enclave"));
  first.crash();
  ASSERT_TRUE(eventually([&] { return second.attest().ok(); }));
  EXPECT_GT(second.epoch("out"), first.epoch("out"));
  EXPECT_EQ(first.resume(world_.server->enclave_address()).error().code(), Code::Denied);
  EXPECT_TRUE(second.publish("out", {}, tag_of(1)).ok());
}

TEST_F(CasTest, ARestartKeepsEverythingAndInstancesResume) {
  const std::string hash = create(session_text("s"));
  const crypto::Digest key = world_.server->key_hash();
  Enclave enclave(world_);
  ASSERT_TRUE(enclave.attest().ok());
  ASSERT_TRUE(enclave.publish("out", {}, tag_of(1)).ok());
  world_.start();
  EXPECT_EQ(world_.server->key_hash(), key);
  EXPECT_EQ(world_.client(world_.owner).read_session("s")->second, hash);
  EXPECT_EQ(volume("out").tag, tag_of(1));
  ASSERT_TRUE(enclave.resume(world_.server->enclave_address()).ok());
  EXPECT_TRUE(enclave.publish("out", {}, tag_of(1)).ok()) << "the batch whose answer was lost";
  EXPECT_TRUE(enclave.publish("out", tag_of(1), tag_of(2)).ok());
  EXPECT_TRUE(enclave.exit(0).ok());
}

TEST_F(CasTest, ASecondServiceOnTheSameStateIsRefused) {
  const auto second = CasServer::start(world_.options());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), Code::Denied);
  EXPECT_THAT(second.error().message(), HasSubstr("is used by another process"));
}

TEST_F(CasTest, AnotherServersKeyGetsNothing) {
  const auto client = Client::connect(world_.server->api_address(), crypto::Digest{1}, world_.owner);
  ASSERT_FALSE(client.ok());
  EXPECT_EQ(client.error().code(), Code::Denied) << client.error().message();
}

// A service in a process of its own, so that it can be killed like one.
class KilledService {
 public:
  explicit KilledService(const CasOptions& options) {
    int ends[2];
    CLOISTER_CHECK(::pipe(ends) == 0);
    pid_ = ::fork();
    CLOISTER_CHECK(pid_ >= 0);
    if (pid_ == 0) {
      const auto server = CasServer::start(options);
      if (!server.ok()) ::_exit(1);
      const std::string said = (*server)->api_address() + " " + (*server)->enclave_address() + " " +
                               to_hex((*server)->key_hash()) + "\n";
      if (::write(ends[1], said.data(), said.size()) < 0) ::_exit(1);
      for (;;) ::pause();
    }
    ::close(ends[1]);
    std::string said;
    char c = 0;
    while (::read(ends[0], &c, 1) == 1 && c != '\n') said += c;
    ::close(ends[0]);
    const size_t first = said.find(' '), second = said.find(' ', first + 1);
    CLOISTER_CHECK(second != std::string::npos);
    api_address = said.substr(0, first);
    enclave_address = said.substr(first + 1, second - first - 1);
    key = array_from_hex<32>(said.substr(second + 1)).value();
  }
  ~KilledService() { kill(); }
  void kill() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    pid_ = -1;
  }

  std::string api_address, enclave_address;
  crypto::Digest key{};

 private:
  pid_t pid_ = -1;
};

TEST(CasCrash, KillingTheServiceLosesNothingAcknowledged) {
  World world;
  for (int round = 0; round < 3; ++round) {
    const std::string name = "s" + std::to_string(round);
    std::vector<std::string> sessions;
    std::vector<uint64_t> acknowledged(4, 0);
    std::vector<std::unique_ptr<Enclave>> enclaves;
    {
      KilledService service(world.options());
      Client client = Client::connect(service.api_address, service.key, world.owner).value();
      for (size_t i = 0; i < acknowledged.size(); ++i) {
        sessions.push_back(name + "-" + std::to_string(i));
        ASSERT_TRUE(client.create_session(session_text(sessions.back())).ok());
        enclaves.push_back(std::make_unique<Enclave>(world, 'a', service.enclave_address, service.key));
        ASSERT_TRUE(enclaves.back()->attest(sessions.back() + "/app").ok());
      }
      std::vector<std::thread> threads;
      std::atomic<uint64_t> total{0};
      for (size_t i = 0; i < acknowledged.size(); ++i) {
        threads.emplace_back([&, i] {
          for (uint64_t n = 1;; ++n) {
            const Tag previous = n == 1 ? Tag{} : tag_of(n - 1);
            if (!enclaves[i]->publish("out", previous, tag_of(n)).ok()) return;
            acknowledged[i] = n;
            ++total;
          }
        });
      }
      while (total < 200) std::this_thread::yield();
      service.kill();
      for (std::thread& thread : threads) thread.join();
    }
    world.start();
    Client client = world.client(world.owner);
    for (size_t i = 0; i < sessions.size(); ++i) {
      const std::vector<VolumeState> volumes = client.volumes(sessions[i]).value();
      const VolumeState& out = volumes[1];
      // One more may have been made durable without its answer getting out.
      EXPECT_GE(out.updates, acknowledged[i]);
      EXPECT_LE(out.updates, acknowledged[i] + 1);
      EXPECT_EQ(out.tag, tag_of(out.updates));
      ASSERT_TRUE(enclaves[i]->resume(world.server->enclave_address()).ok());
      EXPECT_TRUE(enclaves[i]->publish("out", tag_of(acknowledged[i]), tag_of(acknowledged[i] + 1)).ok());
    }
    enclaves.clear();
    world.server.reset();
  }
}

}  // namespace
}  // namespace cloister::cas
