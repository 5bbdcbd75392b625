// The service and collateral of platforms that are no simulation: asked for, kept, refreshed, ended. The
// simulated Intel stands for Intel here: its root is trusted and not marked as a simulation.
#include <gtest/gtest.h>

#include "attestation/tdx_test_support.h"
#include "cas/world_test_support.h"
#include "collateral/collateral_test_support.h"

namespace cloister::cas {
namespace {

using collateral::testing::ServiceStandIn;
using testing::Enclave;
using testing::World;

constexpr int64_t kDay = 86400;

class CasCollateral : public ::testing::Test {
 protected:
  CasOptions options() {
    CasOptions out = world_.options(false);
    out.evidence.anchors.push_back(world_.pki().anchor());
    out.evidence.anchors.back().simulation = false;
    out.evidence.clock = [this] { return now_.load(); };
    out.collateral.service.base_url = service_.url();
    out.collateral_interval = std::chrono::milliseconds(20);
    return out;
  }
  void start(const CasOptions& with) {
    world_.start(with);
    if (created_) return;
    const std::string text = testing::session_text("s", {}, "SCONE_MODE: hw", "hyperthreading");
    ASSERT_TRUE(world_.client(world_.owner).create_session(text).ok());
    created_ = true;
  }
  Result<void> attest() {
    Enclave enclave(world_);
    Result<void> done = enclave.attest();
    if (done.ok()) static_cast<void>(enclave.exit(0).ok());
    return done;
  }
  std::string events() {
    std::string out;
    Client client = world_.client(world_.owner);
    const auto events = client.events("s").value();
    for (const auto& event : events) out += event.text + "\n";
    return out;
  }

  World world_;
  std::atomic<int64_t> now_ = std::time(nullptr);
  ServiceStandIn service_{world_.pki().collateral(now_).value()};
  bool created_ = false;
};

TEST_F(CasCollateral, FetchesWhatAQuoteNeedsAndKeepsIt) {
  start(options());
  const Result<void> first = attest();
  ASSERT_TRUE(first.ok()) << first.error().message();
  EXPECT_TRUE(attest().ok());
  EXPECT_EQ(service_.requests(), 4);
  service_.fail(500);
  start(options());
  EXPECT_TRUE(attest().ok()) << "a restart takes what is in the folder";
  EXPECT_EQ(service_.requests(), 4);
}

TEST_F(CasCollateral, WhatTheHostAttachesDoesNotCount) {
  CasOptions offline = options();
  offline.collateral.service.base_url.clear();
  start(offline);
  const Result<void> refused = attest();
  EXPECT_EQ(refused.error().code(), Code::Denied) << "the enclave brings good collateral along";
  EXPECT_NE(events().find("no collateral service"), std::string::npos) << events();
}

TEST_F(CasCollateral, AnOutageIsBridgedUntilTheCollateralEnds) {
  start(options());
  ASSERT_TRUE(attest().ok());
  service_.fail(503);
  now_ += 30 * kDay - 7200;
  EXPECT_TRUE(attest().ok());
  now_ += kDay;
  EXPECT_FALSE(attest().ok());
  service_.serve(world_.pki().collateral(now_).value());
  service_.fail(200);
  now_ += 3600;  // beyond the longest back-off
  Result<void> again = attest();
  // A refresh that began during the outage may end now, and back off from now on.
  for (int i = 0; i < 10 && !again.ok(); ++i) {
    now_ += 3600;
    again = attest();
  }
  EXPECT_TRUE(again.ok()) << again.error().message();
}

TEST_F(CasCollateral, RefreshesBeforeTheEndWithoutBeingAsked) {
  start(options());
  ASSERT_TRUE(attest().ok());
  const int64_t end = now_ + 30 * kDay;
  service_.serve(world_.pki().collateral(end - kDay / 2).value());
  now_ = end - kDay / 2;
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (service_.requests() < 8 && std::chrono::steady_clock::now() < give_up) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(service_.requests(), 8);
  service_.fail(503);
  now_ = end + kDay;
  EXPECT_TRUE(attest().ok()) << "the old ones have ended";
}

TEST_F(CasCollateral, WhatATdxQuoteNeedsIsFetchedAsWell) {
  using namespace attestation;
  const TdxTestPki intel;
  TestTcb tcb;
  tcb.platform = {{6, TcbStatus::OutOfDate, {"INTEL-SA-00828"}}};
  ServiceStandIn service(intel.collateral(now_, tcb), "tdx");
  CasOptions with = options();
  with.evidence.anchors.push_back(intel.anchor());
  with.evidence.anchors.back().simulation = false;
  with.collateral.service.base_url = service.url();
  world_.start(with);
  std::string text = testing::session_text(
      "td", {}, "SCONE_MODE: hw", "hyperthreading, outdated-tcb], ignore_advisories: [INTEL-SA-00828");
  const std::string enclaves = "mrenclaves: [" + testing::measurement_hex('a') + "]";
  std::string mrtd;
  for (int i = 0; i < 48; ++i) mrtd += "10";
  text.replace(text.find(enclaves), enclaves.size(), "attestation: {mrtd: " + mrtd + "}");
  ASSERT_TRUE(world_.client(world_.owner).create_session(text).ok());
  AttestClientOptions to_server;
  to_server.address = world_.server->enclave_address();
  AttestClient client =
      AttestClient::connect(to_server, attestation::testing::make_identity("machine")).value();
  AttestRequest request;
  request.kind = EvidenceKind::TdxQuote;
  request.subject = "td/app";
  request.host_arguments = {"one"};
  TestTd td;
  td.report_data = client.report_data(request).value();
  request.quote = intel.quote(td);
  // What the host attaches would be better for it, and is not looked at.
  const std::string better = collateral_bundle_json(intel.collateral(now_));
  request.collateral.assign(better.begin(), better.end());
  const auto released = client.attest(request);
  ASSERT_TRUE(released.ok()) << released.error().message();
  EXPECT_EQ(service.requests(), 4);
  const auto events = world_.client(world_.owner).events("td").value();
  EXPECT_NE(events.back().text.find("TCB OutOfDate"), std::string::npos) << events.back().text;
}

TEST_F(CasCollateral, AStrangersPlatformIsNotAskedFor) {
  start(options());
  World stranger;
  stranger.start(stranger.options());
  Enclave enclave(stranger, 'a', world_.server->enclave_address(), world_.server->key_hash());
  EXPECT_EQ(enclave.attest().error().code(), Code::Denied);
  EXPECT_EQ(service_.requests(), 0);
}

}  // namespace
}  // namespace cloister::cas
