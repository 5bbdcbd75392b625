// The simulated platform against the one verifier: what it makes is accepted under its own root and under no
// other, and each switch has the effect it names.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <ctime>

#include "attestation/sim_pki.h"
#include "attestation/trusted_collateral.h"
#include "base/files.h"
#include "crypto/random.h"

namespace cloister::attestation {
namespace {

namespace fs = std::filesystem;
constexpr int64_t kNow = 1790000000;  // any time within the certificates' lives
constexpr int64_t kDay = 86400;

class SimPkiTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/cloister-sim-pki-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    crypto::random_bytes(data_);
    app_.attributes.flags = sgx::kFlagInit | sgx::kFlagMode64;
    app_.attributes.xfrm = sgx::kXfrmLegacy;
    app_.mrenclave[0] = 0xaa;
    app_.mrsigner[31] = 0xbb;
    app_.isv_prod_id = 7;
    app_.isv_svn = 9;
  }
  void TearDown() override { fs::remove_all(folder_); }

  SimPki open(const SimSettings& settings = {}) {
    const auto platform = sgx::SimPlatform::open(folder_ / "machine").value();
    return SimPki::open(folder_ / "pki", platform, settings).value();
  }
  Bytes quote(const SimPki& pki) {
    const auto platform = sgx::SimPlatform::open(folder_ / "machine").value();
    return pki.quote(platform.make_report(app_, pki.target_info(), data_)).value();
  }
  Result<Verdict> verify(const SimPki& pki, ByteView quote, int64_t now = kNow) {
    const CollateralBundle made = TRY(pki.collateral(kNow));
    const CollateralBundle read = TRY(parse_collateral_bundle(collateral_bundle_json(made)));
    const auto trusted = TRY(trust_collateral(read, {intel_sgx_root(), pki.anchor()}));
    return verify_quote(quote, *trusted, now, data_);
  }

  fs::path folder_;
  ByteArray<64> data_{};
  sgx::Secs app_{};
};

// The second quote of a platform costs one signature check; everything else must still be judged.
TEST_F(SimPkiTest, AKnownPlatformsQuoteIsStillChecked) {
  const SimPki pki = open();
  const auto trusted = trust_collateral(pki.collateral(kNow).value(), {pki.anchor()}).value();
  Bytes bytes = quote(pki);
  const auto again = [&](int64_t now = kNow, const VerifyOptions& options = {}) {
    return verify_quote(bytes, *trusted, now, data_, options).ok();
  };
  ASSERT_TRUE(again());
  EXPECT_TRUE(again());
  EXPECT_FALSE(again(kNow + 40 * kDay)) << "time";
  VerifyOptions newer;
  newer.minimum_tcb_evaluation_number = 18;
  EXPECT_FALSE(again(kNow, newer)) << "evaluation number";
  for (const size_t at : {60u, 112u, 300u, 436u + 10, 436u + 70, 436u + 200, 436u + 520}) {
    bytes[at] ^= 1;
    EXPECT_FALSE(again()) << "byte " << at;
    bytes[at] ^= 1;
  }
  EXPECT_TRUE(again());
}

TEST_F(SimPkiTest, APlatformIsRememberedOnlyForAQuoteThatPassedEveryCheck) {
  const SimPki pki = open();
  const auto trusted = trust_collateral(pki.collateral(kNow).value(), {pki.anchor()}).value();
  const Bytes bytes = quote(pki);
  ByteArray<64> other = data_;
  other[0] ^= 1;
  EXPECT_EQ(verify_quote(bytes, *trusted, kNow, other).error().code(), Code::Denied);
  EXPECT_EQ(trusted->attestors.size(), 0u);
  EXPECT_TRUE(verify_quote(bytes, *trusted, kNow, data_).ok());
  EXPECT_EQ(trusted->attestors.size(), 1u);
}

TEST_F(SimPkiTest, QuoteIsAcceptedUnderTheSimulationRoot) {
  const SimPki pki = open();
  const Verdict verdict = verify(pki, quote(pki)).value();
  EXPECT_EQ(verdict.status, TcbStatus::UpToDate);
  EXPECT_TRUE(verdict.simulated);
  EXPECT_TRUE(verdict.revocation_checked);
  EXPECT_FALSE(verdict.debug);
  EXPECT_EQ(verdict.report_data, data_);
  EXPECT_EQ(verdict.mrenclave[0], 0xaa);
  EXPECT_EQ(verdict.mrsigner[31], 0xbb);
  EXPECT_EQ(verdict.isv_prod_id, 7);
  EXPECT_EQ(verdict.isv_svn, 9);
  EXPECT_EQ(verdict.tcb_evaluation_number, 17u);
  EXPECT_EQ(verdict.ppid.size(), 32u);
  EXPECT_TRUE(verdict.advisory_ids.empty());
}

TEST_F(SimPkiTest, IntelsRootAloneRefusesIt) {
  const SimPki pki = open();
  const auto refused = trust_collateral(pki.collateral(kNow).value(), {intel_sgx_root()});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), Code::Integrity);
  EXPECT_NE(refused.error().message().find("root is not trusted"), std::string::npos);
}

TEST_F(SimPkiTest, AnotherSimulationRootRefusesIt) {
  const SimPki pki = open();
  const auto platform = sgx::SimPlatform::open(folder_ / "machine").value();
  const SimPki other = SimPki::open(folder_ / "other-pki", platform).value();
  const auto trusted = trust_collateral(other.collateral(kNow).value(), {other.anchor()}).value();
  EXPECT_FALSE(verify_quote(quote(pki), *trusted, kNow, data_).ok());
}

TEST_F(SimPkiTest, KeysAndRootAreStableOverRestartsAndPrivate) {
  const std::string root = open().root_pem();
  const Bytes quote_before = quote(open());
  EXPECT_EQ(open().root_pem(), root);
  EXPECT_TRUE(verify(open(), quote_before).ok());
  for (const char* name : {"root.key", "platform-ca.key", "pck.key", "tcb-signing.key", "attestation.key"}) {
    struct stat status {};
    ASSERT_EQ(::stat((folder_ / "pki" / name).c_str(), &status), 0) << name;
    EXPECT_EQ(status.st_mode & 0777, 0600u) << name;
  }
  const Bytes pem = read_file(folder_ / "pki" / "simulation-root.pem", 1 << 16).value();
  EXPECT_EQ(as_text(pem), root);
}

TEST_F(SimPkiTest, RefusesStateWhoseFilesDoNotBelongTogether) {
  open();
  const auto platform = sgx::SimPlatform::open(folder_ / "machine").value();
  SimPki::open(folder_ / "other-pki", platform).value();
  fs::copy_file(folder_ / "other-pki" / "pck.key", folder_ / "pki" / "pck.key",
                fs::copy_options::overwrite_existing);
  const auto mixed = SimPki::open(folder_ / "pki", platform);
  ASSERT_FALSE(mixed.ok());
  EXPECT_EQ(mixed.error().code(), Code::Integrity);
}

TEST_F(SimPkiTest, RefusesReportsOfAnotherMachineOrTarget) {
  const SimPki pki = open();
  const auto elsewhere = sgx::SimPlatform::open(folder_ / "another-machine").value();
  const auto foreign = pki.quote(elsewhere.make_report(app_, pki.target_info(), data_));
  ASSERT_FALSE(foreign.ok());
  EXPECT_EQ(foreign.error().code(), Code::Denied);
  const auto here = sgx::SimPlatform::open(folder_ / "machine").value();
  EXPECT_FALSE(pki.quote(here.make_report(app_, sgx::TargetInfo{}, data_)).ok()) << "for another enclave";
  sgx::Report changed = here.make_report(app_, pki.target_info(), data_);
  changed.body.mrenclave[5] ^= 1;
  EXPECT_FALSE(pki.quote(changed).ok());
}

TEST_F(SimPkiTest, EachTcbStatusArrivesWithItsAdvisories) {
  using enum TcbStatus;
  for (const TcbStatus status : {SWHardeningNeeded, ConfigurationNeeded, ConfigurationAndSWHardeningNeeded,
                                 OutOfDate, OutOfDateConfigurationNeeded, Revoked}) {
    SimSettings settings;
    settings.tcb_status = status;
    settings.advisory_ids = {"INTEL-SA-00334", "INTEL-SA-00615"};
    const SimPki pki = open(settings);
    const Verdict verdict = verify(pki, quote(pki)).value();
    EXPECT_EQ(verdict.status, status);
    EXPECT_EQ(verdict.advisory_ids, settings.advisory_ids);
  }
  SimSettings impossible;
  impossible.tcb_status = TDRelaunchAdvised;
  const auto platform = sgx::SimPlatform::open(folder_ / "machine").value();
  EXPECT_FALSE(SimPki::open(folder_ / "pki", platform, impossible).ok());
}

TEST_F(SimPkiTest, AdvisoryNamesCannotWriteJson) {
  SimSettings settings;
  settings.advisory_ids = {"A\"],\"x\":[\""};
  EXPECT_FALSE(open(settings).collateral(kNow).ok());
}

TEST_F(SimPkiTest, RevokedPckIsRefused) {
  SimSettings settings;
  settings.revoke_pck = true;
  const SimPki pki = open(settings);
  const auto verdict = verify(pki, quote(pki));
  ASSERT_FALSE(verdict.ok());
  EXPECT_EQ(verdict.error().message(), "revocation: the PCK is revoked");
}

TEST_F(SimPkiTest, DebugQuotingEnclaveIsRefused) {
  SimSettings settings;
  settings.debug_qe = true;
  const SimPki pki = open(settings);
  const auto verdict = verify(pki, quote(pki));
  ASSERT_FALSE(verdict.ok());
  EXPECT_EQ(verdict.error().message(), "QE identity: ATTRIBUTES");
}

TEST_F(SimPkiTest, DebugEnclaveIsReported) {
  app_.attributes.flags |= sgx::kFlagDebug;
  const SimPki pki = open();
  EXPECT_TRUE(verify(pki, quote(pki)).value().debug);
}

TEST_F(SimPkiTest, CollateralHoldsForThirtyDaysOnly) {
  const SimPki pki = open();
  const Bytes made = quote(pki);
  EXPECT_TRUE(verify(pki, made, kNow + 29 * kDay).ok());
  EXPECT_FALSE(verify(pki, made, kNow + 31 * kDay).ok());
  EXPECT_FALSE(verify(pki, made, kNow - kDay).ok());
  SimSettings settings;
  settings.expired_collateral = true;
  const auto expired = verify(open(settings), made);
  ASSERT_FALSE(expired.ok());
  EXPECT_NE(expired.error().message().find("expired"), std::string::npos);
}

// All of the binary part, and samples of the certificate chain's text.
TEST_F(SimPkiTest, EveryChangedByteIsRefused) {
  const SimPki pki = open();
  const Bytes good = quote(pki);
  const auto trusted = trust_collateral(pki.collateral(kNow).value(), {pki.anchor()}).value();
  ASSERT_TRUE(verify_quote(good, *trusted, kNow, data_).ok());
  size_t tried = 0;
  for (size_t at = 0; at < good.size(); at += at < 1100 ? 1 : 61) {
    // Line ends and the unused bits before base64 padding are the only bytes that mean nothing.
    if ((at > 1100 && good[at] == '\n') || (at > 1100 && at + 1 < good.size() && good[at + 1] == '='))
      continue;
    Bytes bad = good;
    bad[at] ^= 0x01;
    EXPECT_FALSE(verify_quote(bad, *trusted, kNow, data_).ok()) << at;
    ++tried;
  }
  EXPECT_GT(tried, 1000u);
}

}  // namespace
}  // namespace cloister::attestation
