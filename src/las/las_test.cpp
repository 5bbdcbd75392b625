// The service over real connections: what it gives is accepted by the verifier, and no client can hurt it.
#include "las/las.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <thread>

#include "attestation/evidence_verifier.h"
#include "crypto/random.h"

namespace cloister::las {
namespace {

using namespace attestation;
using std::chrono::milliseconds;

class LasTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/cloister-las-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    options_.address = "127.0.0.1:0";
    options_.idle_timeout = milliseconds(2000);
  }
  void TearDown() override {
    server_.reset();
    std::filesystem::remove_all(folder_);
  }

  std::string start(const SimSettings& settings = {}) {
    const auto platform = sgx::SimPlatform::open(folder_ / "machine").value();
    server_ = LasServer::start(options_, SimPki::open(folder_ / "pki", platform, settings).value()).value();
    return server_->address();
  }
  std::vector<TrustAnchor> anchors() {
    std::vector<TrustAnchor> out = {intel_sgx_root()};
    EXPECT_TRUE(add_simulation_root(folder_ / "pki" / "simulation-root.pem", out).ok());
    return out;
  }
  Socket raw(const std::string& address) {
    return connect_tcp(address, deadline_in(milliseconds(2000))).value();
  }
  LasFrame answer(const Socket& socket) {
    return read_las_frame(socket, deadline_in(milliseconds(5000))).value();
  }

  std::filesystem::path folder_;
  LasServerOptions options_;
  std::unique_ptr<LasServer> server_;
};

TEST_F(LasTest, ProbeGoesTheWholeWay) {
  const std::string address = start();
  const auto probe = las_probe(address, folder_ / "machine", anchors());
  ASSERT_TRUE(probe.ok()) << probe.error().message();
  EXPECT_EQ(probe->verdict.status, TcbStatus::UpToDate);
  EXPECT_TRUE(probe->verdict.simulated);
  const auto status = las_status(address);
  ASSERT_TRUE(status.ok()) << status.error().message();
  EXPECT_EQ(status->status.quotes, 1u);
  EXPECT_NE(status->text.find("simulation"), std::string::npos);
}

TEST_F(LasTest, ProbeShowsTheTcbStatusAndRefusesARevokedPlatform) {
  SimSettings settings;
  settings.tcb_status = TcbStatus::OutOfDate;
  settings.advisory_ids = {"INTEL-SA-00837"};
  std::string address = start(settings);
  const auto outdated = las_probe(address, folder_ / "machine", anchors());
  ASSERT_TRUE(outdated.ok());
  EXPECT_EQ(outdated->verdict.status, TcbStatus::OutOfDate);
  EXPECT_NE(outdated->text.find("INTEL-SA-00837"), std::string::npos);
  settings.revoke_pck = true;
  address = start(settings);
  const auto revoked = las_probe(address, folder_ / "machine", anchors());
  ASSERT_FALSE(revoked.ok());
  EXPECT_EQ(revoked.error().code(), Code::Integrity);
}

TEST_F(LasTest, RefusesReportsOfAnotherMachine) {
  const std::string address = start();
  const auto probe = las_probe(address, folder_ / "another-machine", anchors());
  ASSERT_FALSE(probe.ok());
  EXPECT_EQ(probe.error().code(), Code::Denied);
  EXPECT_EQ(server_->status().refused, 1u);
}

TEST_F(LasTest, AbsentLasIsUnavailableAndNamed) {
  const std::string address = start();
  server_.reset();
  const auto status = las_status(address);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code(), Code::Unavailable);
  EXPECT_NE(status.error().message().find("Unable to connect to LAS at " + address), std::string::npos);
}

TEST_F(LasTest, SilentLasIsUnavailableWithinTheTimeout) {
  const auto listener = Listener::bind("127.0.0.1:0");  // accepts by backlog only, never answers
  LasClientOptions options;
  options.address = listener->address();
  options.reply_timeout = milliseconds(300);
  const auto begin = std::chrono::steady_clock::now();
  const auto client = LasClient::connect(options);
  ASSERT_FALSE(client.ok());
  EXPECT_EQ(client.error().code(), Code::Unavailable);
  EXPECT_NE(client.error().message().find(listener->address()), std::string::npos);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST_F(LasTest, RefusesOtherVersionsAndOrders) {
  const std::string address = start();
  {
    const Socket socket = raw(address);
    LasHello hello;
    hello.version = 2;
    ASSERT_TRUE(
        write_las_frame(socket, LasMessage::Hello, encode(hello), deadline_in(milliseconds(500))).ok());
    const LasFrame frame = answer(socket);
    ASSERT_EQ(frame.type, LasMessage::Failed);
    EXPECT_EQ(decode_las_failed(frame.payload)->code, LasFailure::VersionUnsupported);
  }
  const Socket socket = raw(address);
  const LasQuoteRequest request;
  const Deadline deadline = deadline_in(milliseconds(500));
  ASSERT_TRUE(write_las_frame(socket, LasMessage::QuoteRequest, encode(request), deadline).ok());
  const LasFrame frame = answer(socket);
  ASSERT_EQ(frame.type, LasMessage::Failed);
  EXPECT_EQ(decode_las_failed(frame.payload)->code, LasFailure::Malformed);
}

TEST_F(LasTest, SurvivesGarbageAndHugeLengths) {
  const std::string address = start();
  for (const char* hex :
       {"0101000000", "ff00000000", "01ffffffff", "02ffffff7f00", "4745542f", "0700000000"}) {
    const Socket socket = raw(address);
    const Bytes bytes = from_hex(hex).value();
    ASSERT_EQ(::send(socket.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL), ssize_t(bytes.size()));
    ::shutdown(socket.fd(), SHUT_WR);
    bool ended = false;
    const auto frame = read_las_frame(socket, deadline_in(milliseconds(5000)), &ended);
    EXPECT_TRUE(!frame.ok() || frame->type == LasMessage::Failed) << hex;
  }
  EXPECT_TRUE(las_probe(address, folder_ / "machine", anchors()).ok());
}

TEST_F(LasTest, BoundsConnectionsAndDropsSilentOnes) {
  options_.max_connections = 2;
  options_.idle_timeout = milliseconds(300);
  const std::string address = start();
  const Socket first = raw(address), second = raw(address);
  while (server_->status().connections < 2) std::this_thread::yield();
  const Socket third = raw(address);
  bool ended = false;
  EXPECT_FALSE(read_las_frame(third, deadline_in(milliseconds(5000)), &ended).ok());
  EXPECT_TRUE(ended) << "closed at once";
  EXPECT_FALSE(read_las_frame(first, deadline_in(milliseconds(5000)), &ended).ok());
  EXPECT_TRUE(ended) << "closed after the timeout";
  while (server_->status().connections > 0) std::this_thread::yield();
  EXPECT_TRUE(las_status(address).ok());
}

TEST_F(LasTest, ServesManyAtOnce) {
  const std::string address = start();
  const auto roots = anchors();
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 5; ++n) good += las_probe(address, folder_ / "machine", roots).ok() ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 40);
}

TEST_F(LasTest, StopsWhileClientsAreConnected) {
  const std::string address = start();
  const Socket idle = raw(address);
  const auto begin = std::chrono::steady_clock::now();
  server_.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, milliseconds(1500));
}

}  // namespace
}  // namespace cloister::las
