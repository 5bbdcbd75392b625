// agent.elf itself, from launch record to exit notice, against a real attestation service, the real protocol
// server and the real verifier: only the enclave's kernel is played by the test.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include <set>

#include "agent/traced_agent.h"
#include "attestation/attest_test_support.h"
#include "attestation/evidence_verifier.h"
#include "las/server.h"

namespace cloister::agent {
namespace {

using namespace attestation;
using attestation::testing::make_identity;
using attestation::testing::RecordingHandler;
using boundary::AgentEvent;
using testing::TracedAgent;
using testing::TracedRun;

// Remembers what the verifier said about the enclave.
class IdentityHandler final : public RecordingHandler {
 public:
  Result<Release> on_attest(const Verdict& verdict, const AttestRequest& request, const Peer& peer) override {
    mrenclave = verdict.mrenclave;
    simulated = verdict.simulated;
    return RecordingHandler::on_attest(verdict, request, peer);
  }
  ByteArray<32> mrenclave{};
  bool simulated = false;
};

class AgentElf : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/cloister-agent-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    const auto platform = sgx::SimPlatform::open(folder_ / "machine").value();
    SimPki pki = SimPki::open(folder_ / "pki", platform).value();
    QuoteVerifierOptions options;
    options.anchors.push_back(pki.anchor());
    verifier_.emplace(options);
    las_ = las::LasServer::start({.address = "127.0.0.1:0"}, std::move(pki)).value();
    service_.emplace(make_identity("cas"));
    server_ = AttestServer::start({.address = "127.0.0.1:0"}, *service_, *verifier_, handler_).value();
    boundary::EnclaveConfig config;
    config.instance_id = handler_.instance;
    config.argv = {"/application"};
    boundary::MountConfig mount;
    mount.name = "out";
    mount.path = "/out";
    mount.epoch = handler_.epoch;
    config.mounts.push_back(mount);
    handler_.configuration = boundary::encode_config(config).expose();

    sgx::Secs self{};
    self.attributes.flags = sgx::kFlagInit | sgx::kFlagMode64;
    self.mrenclave[3] = 0x77;
    agent_.emplace(CLOISTER_AGENT_ELF, platform, self);
    agent_->launch.config_id = "session/service";
    agent_->launch.cas_address = server_->address();
    agent_->launch.las_address = las_->address();
    agent_->launch.cas_key_hash = to_hex(service_->key.spki_sha256());
  }
  void TearDown() override {
    server_.reset();
    las_.reset();
    std::filesystem::remove_all(folder_);
  }

  std::filesystem::path folder_;
  IdentityHandler handler_;
  std::optional<QuoteVerifier> verifier_;
  std::optional<crypto::TlsIdentity> service_;
  std::unique_ptr<las::LasServer> las_;
  std::unique_ptr<AttestServer> server_;
  std::optional<TracedAgent> agent_;
};

TEST_F(AgentElf, AttestsGetsItsConfigurationPublishesTagsAndReportsTheExit) {
  AgentEvent tags;
  tags.sequence = 1;
  tags.changes = {{"out", {}, {5}}};
  AgentEvent exited;
  exited.kind = AgentEvent::Kind::Exited;
  exited.sequence = 2;
  exited.status = 7;
  agent_->events = {tags, exited};
  const TracedRun run = agent_->run();
  EXPECT_EQ(run.exit_status, 0) << run.failure_text;
  EXPECT_EQ(run.configured, handler_.configuration);
  EXPECT_EQ(handler_.mrenclave[3], 0x77);
  EXPECT_TRUE(handler_.simulated);
  EXPECT_EQ(handler_.tags["out"], (ByteArray<16>{5}));
  EXPECT_EQ(handler_.exit_status, 7);
  using Acknowledged = std::pair<uint64_t, std::string>;
  EXPECT_EQ(run.acknowledged, (std::vector<Acknowledged>{{1, ""}, {2, ""}}));
}

// The kernel serves these to the agent (docs/formats/attest-protocol.md). A new one here must be served there
// first.
TEST_F(AgentElf, MakesOnlySystemCallsThatTheKernelServesToIt) {
  const std::set<long> served = {SYS_brk,
                                 SYS_mmap,
                                 SYS_munmap,
                                 SYS_mprotect,
                                 SYS_arch_prctl,
                                 SYS_set_tid_address,
                                 SYS_set_robust_list,
                                 SYS_rseq,
                                 SYS_prlimit64,
                                 SYS_readlink,
                                 SYS_readlinkat,
                                 SYS_getrandom,
                                 SYS_futex,
                                 SYS_sysinfo,
                                 SYS_execve,
                                 SYS_socket,
                                 SYS_connect,
                                 SYS_setsockopt,
                                 SYS_getsockopt,
                                 SYS_poll,
                                 SYS_read,
                                 SYS_write,
                                 SYS_recvfrom,
                                 SYS_sendto,
                                 SYS_close,
                                 SYS_shutdown,
                                 SYS_fcntl,
                                 SYS_getpid,
                                 SYS_clock_gettime,
                                 SYS_exit_group};
  AgentEvent exited;
  exited.kind = AgentEvent::Kind::Exited;
  exited.sequence = 1;
  agent_->events = {exited};
  const TracedRun run = agent_->run();
  ASSERT_EQ(run.exit_status, 0) << run.failure_text;
  for (const auto& [number, count] : run.calls) {
    if (number < 0x10000) {
      EXPECT_TRUE(served.contains(number)) << "system call " << number << ", " << count << " times";
    }
  }
}

TEST_F(AgentElf, NamesAnAbsentLas) {
  las_.reset();
  const TracedRun run = agent_->run();
  EXPECT_EQ(run.failure, 5);
  EXPECT_EQ(run.exit_status, 5);
  EXPECT_NE(run.failure_text.find("Unable to connect to LAS at " + agent_->launch.las_address),
            std::string::npos)
      << run.failure_text;
}

TEST_F(AgentElf, NamesAnAbsentService) {
  server_.reset();
  const TracedRun run = agent_->run();
  EXPECT_EQ(run.failure, 5);
  EXPECT_NE(run.failure_text.find("cannot reach the CAS at"), std::string::npos) << run.failure_text;
}

TEST_F(AgentElf, AnEnclaveOnAnotherMachineIsRefused) {
  const auto elsewhere = sgx::SimPlatform::open(folder_ / "another-machine").value();
  const boundary::LaunchRecord launch = agent_->launch;
  agent_.emplace(CLOISTER_AGENT_ELF, elsewhere, sgx::Secs{});
  agent_->launch = launch;
  const TracedRun run = agent_->run();
  EXPECT_EQ(run.failure, 4) << run.failure_text;
  EXPECT_TRUE(run.configured.empty());
  EXPECT_EQ(handler_.attested, 0);
}

TEST_F(AgentElf, ARefusedSessionIsExitCode4) {
  agent_->launch.config_id = "another/service";
  const TracedRun run = agent_->run();
  EXPECT_EQ(run.failure, 4);
  EXPECT_NE(run.failure_text.find("no such session"), std::string::npos) << run.failure_text;
}

}  // namespace
}  // namespace cloister::agent
