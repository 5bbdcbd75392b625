// The agent as an ordinary process against a real service: only the kernel's private calls and the platform
// are the test's own.
#include "agent/agent.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "attestation/attest_test_support.h"
#include "boundary/config.h"
#include "boundary/launch.h"

namespace cloister::agent {
namespace {

using namespace std::chrono_literals;
using attestation::AttestServer;
using attestation::testing::make_identity;
using attestation::testing::RecordingHandler;
using attestation::testing::SigningPlatform;
using boundary::AgentEvent;

// A report here is its report data; the platform signs that.
class TestKernel final : public Kernel {
 public:
  Result<Report> report(const TargetInfo&, const ByteArray<64>& data) override {
    Report report{};
    std::copy(data.begin(), data.end(), report.begin() + 320);
    return report;
  }
  Result<Bytes> launch_info() override { return boundary::encode_launch(launch); }
  Result<void> configure(ByteView bytes) override {
    if (configure_error) return Error(*configure_error);
    configured.assign(bytes.begin(), bytes.end());
    return {};
  }
  Result<Bytes> next_event() override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !events_.empty(); });
    const AgentEvent event = events_.front();
    events_.pop_front();
    return boundary::encode_event(event);
  }
  void acknowledge(uint64_t sequence, std::string_view error) override {
    const std::lock_guard lock(mutex_);
    acknowledged.emplace_back(sequence, std::string(error));
  }
  void fail(Failure kind, std::string_view text) override {
    failure = kind;
    failure_text = text;
  }

  void push(AgentEvent event) {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
    changed_.notify_all();
  }
  void push_tag(uint64_t sequence, ByteArray<16> previous, ByteArray<16> next) {
    AgentEvent event;
    event.sequence = sequence;
    event.changes = {{"out", previous, next}};
    push(event);
  }
  void push_exit(uint64_t sequence, int32_t status) {
    AgentEvent event;
    event.kind = AgentEvent::Kind::Exited;
    event.sequence = sequence;
    event.status = status;
    push(event);
  }

  boundary::LaunchRecord launch;
  std::optional<Error> configure_error;
  Bytes configured;
  std::vector<std::pair<uint64_t, std::string>> acknowledged;
  std::optional<Failure> failure;
  std::string failure_text;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<AgentEvent> events_;
};

class TestSource final : public EvidenceSource {
 public:
  explicit TestSource(const SigningPlatform& platform) : platform_(platform) {}
  Result<TargetInfo> target_info() override { return TargetInfo{}; }
  Result<Evidence> quote(const Report& report) override {
    ByteArray<64> data;
    std::copy(report.begin() + 320, report.begin() + 384, data.begin());
    return Evidence{platform_.evidence(data), {}};
  }

 private:
  const SigningPlatform& platform_;
};

class AgentTest : public ::testing::Test {
 protected:
  void SetUp() override {
    boundary::EnclaveConfig config;
    config.instance_id = handler_.instance;
    config.argv = {"/application"};
    boundary::MountConfig mount;
    mount.name = "out";
    mount.path = "/out";
    mount.create = true;
    mount.epoch = handler_.epoch;
    config.mounts.push_back(mount);
    handler_.configuration = boundary::encode_config(config).expose();
    start("127.0.0.1:0");
    kernel_.launch.config_id = "session/service@123456";
    kernel_.launch.cas_address = server_->address();
    kernel_.launch.las_address = "127.0.0.1:1";
    kernel_.launch.cas_key_hash = to_hex(service_.key.spki_sha256());
    kernel_.launch.args = {"one", "two"};
    options_.open_evidence_source = [this](const std::string&) -> Result<std::unique_ptr<EvidenceSource>> {
      return std::unique_ptr<EvidenceSource>(std::make_unique<TestSource>(platform_));
    };
    options_.retry_for = 5s;
  }
  void start(const std::string& address) {
    server_ = AttestServer::start({.address = address}, service_, platform_, handler_).value();
  }
  std::string first_line() const { return kernel_.failure_text.substr(0, kernel_.failure_text.find('\n')); }

  SigningPlatform platform_;
  RecordingHandler handler_;
  crypto::TlsIdentity service_ = make_identity("cas");
  std::unique_ptr<AttestServer> server_;
  TestKernel kernel_;
  AgentOptions options_;
};

TEST_F(AgentTest, ProvesTheAccessTokenAndWantsItProven) {
  kernel_.launch.environment = {"PATH=/bin", "CLOISTER_SERVICE_ACCESS_TOKEN=open-sesame"};
  EXPECT_EQ(run_agent(kernel_, options_), static_cast<int>(Failure::Refused));
  EXPECT_TRUE(handler_.last_request.access_proof.has_value());
  EXPECT_EQ(first_line(), "the CAS does not know the service access token");
  EXPECT_TRUE(kernel_.configured.empty());
}

TEST_F(AgentTest, ConfiguresPublishesTagsAndReportsTheExit) {
  kernel_.push_tag(1, {}, {1});
  kernel_.push_tag(2, {1}, {2});
  kernel_.push_exit(3, 42);
  EXPECT_EQ(run_agent(kernel_, options_), 0);
  EXPECT_EQ(kernel_.configured, handler_.configuration);
  EXPECT_EQ(handler_.last_request.subject, "session/service");
  EXPECT_EQ(handler_.last_request.one_time_password, "123456");
  EXPECT_EQ(handler_.last_request.host_arguments, kernel_.launch.args);
  EXPECT_EQ(handler_.tags["out"], (ByteArray<16>{2}));
  EXPECT_EQ(handler_.exit_status, 42);
  using Acknowledged = std::pair<uint64_t, std::string>;
  EXPECT_EQ(kernel_.acknowledged, (std::vector<Acknowledged>{{1, ""}, {2, ""}, {3, ""}}));
  EXPECT_FALSE(kernel_.failure);
}

TEST_F(AgentTest, ATagThatTheServiceRefusesIsRefusedToTheKernel) {
  kernel_.push_tag(1, {9}, {1});
  kernel_.push_exit(2, 0);
  EXPECT_EQ(run_agent(kernel_, options_), 0);
  ASSERT_EQ(kernel_.acknowledged.size(), 2u);
  EXPECT_EQ(kernel_.acknowledged[0].second, "the CAS refuses: unknown previous tag");
}

TEST_F(AgentTest, TagsSurviveARestartOfTheService) {
  std::thread agent([this] { EXPECT_EQ(run_agent(kernel_, options_), 0); });
  kernel_.push_tag(1, {}, {1});
  while (handler_.batches < 1) std::this_thread::sleep_for(1ms);
  const std::string address = server_->address();
  server_.reset();
  kernel_.push_tag(2, {1}, {2});
  std::this_thread::sleep_for(100ms);
  start(address);
  kernel_.push_exit(3, 0);
  agent.join();
  EXPECT_EQ(handler_.resumed, 1);
  EXPECT_EQ(handler_.tags["out"], (ByteArray<16>{2}));
  EXPECT_EQ(kernel_.acknowledged[1].second, "");
}

TEST_F(AgentTest, AfterTheRestartOnlyTheSameServiceGetsTags) {
  kernel_.launch.cas_key_hash.clear();  // not pinned by the launch
  std::thread agent([this] { EXPECT_EQ(run_agent(kernel_, options_), 0); });
  kernel_.push_tag(1, {}, {1});
  while (handler_.batches < 1) std::this_thread::sleep_for(1ms);
  const std::string address = server_->address();
  server_.reset();
  service_ = make_identity("another cas");
  start(address);
  kernel_.push_tag(2, {1}, {2});
  kernel_.push_exit(3, 0);
  agent.join();
  EXPECT_EQ(handler_.batches, 1);
  EXPECT_NE(kernel_.acknowledged[1].second.find("the peer's key is"), std::string::npos);
}

TEST_F(AgentTest, AServiceThatStaysAwayIsToldToTheKernel) {
  options_.retry_for = 200ms;
  std::thread agent([this] { EXPECT_EQ(run_agent(kernel_, options_), 0); });
  kernel_.push_tag(1, {}, {1});
  while (handler_.batches < 1) std::this_thread::sleep_for(1ms);
  const std::string address = server_->address();
  server_.reset();
  kernel_.push_tag(2, {1}, {2});
  kernel_.push_exit(3, 0);
  agent.join();
  EXPECT_EQ(kernel_.acknowledged[1].second, "cannot reach the CAS at " + address + ": Connection refused");
}

TEST_F(AgentTest, NamesADeadService) {
  server_.reset();
  EXPECT_EQ(run_agent(kernel_, options_), 5);
  EXPECT_EQ(kernel_.failure, Failure::Unavailable);
  EXPECT_EQ(first_line(), "cannot reach the CAS at " + kernel_.launch.cas_address + ": Connection refused");
  EXPECT_GT(kernel_.failure_text.size(), first_line().size() + 10);
}

TEST_F(AgentTest, NamesAnAbsentLas) {
  options_.open_evidence_source = [](const std::string& address) -> Result<std::unique_ptr<EvidenceSource>> {
    return Error(Code::Unavailable, "Unable to connect to LAS at " + address + ": Connection refused");
  };
  EXPECT_EQ(run_agent(kernel_, options_), 5);
  EXPECT_EQ(first_line(), "Unable to connect to LAS at 127.0.0.1:1: Connection refused");
}

TEST_F(AgentTest, APolicyRefusalIsExitCode4WithTheServicesWords) {
  kernel_.launch.config_id = "session/other";
  EXPECT_EQ(run_agent(kernel_, options_), 4);
  EXPECT_EQ(first_line(), "the CAS refuses: no such session");
  EXPECT_TRUE(kernel_.configured.empty());
}

TEST_F(AgentTest, AnotherKeyThanThePinnedOneIsExitCode4) {
  kernel_.launch.cas_key_hash = std::string(64, 'a');
  EXPECT_EQ(run_agent(kernel_, options_), 4);
  EXPECT_NE(first_line().find(std::string(64, 'a')), std::string::npos);
  EXPECT_EQ(handler_.attested, 0);
}

TEST_F(AgentTest, BrokenPinsAndMissingSessionsAreRefusedBeforeConnecting) {
  kernel_.launch.cas_key_hash = "abc";
  EXPECT_EQ(run_agent(kernel_, options_), 4);
  kernel_.launch.cas_key_hash.clear();
  kernel_.launch.config_id = "@otp";
  EXPECT_EQ(run_agent(kernel_, options_), 4);
  EXPECT_EQ(first_line(), "no session was named");
}

TEST_F(AgentTest, AVolumeInAWrongStateIsExitCode3WithTheKernelsWords) {
  kernel_.configure_error = Error(Code::Integrity, "The FSPF tag is not fresh - suspected replay attack");
  EXPECT_EQ(run_agent(kernel_, options_), 3);
  EXPECT_EQ(kernel_.failure, Failure::Integrity);
  EXPECT_EQ(first_line(), "The FSPF tag is not fresh - suspected replay attack");
}

TEST_F(AgentTest, AConfigurationThatDoesNotDecodeNeverReachesTheKernel) {
  handler_.configuration = {1, 2, 3};
  EXPECT_EQ(run_agent(kernel_, options_), 4);
  EXPECT_TRUE(kernel_.configured.empty());
  EXPECT_FALSE(kernel_.failure_text.empty());
}

}  // namespace
}  // namespace cloister::agent
