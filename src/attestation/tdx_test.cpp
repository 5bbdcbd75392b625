// TDX quotes v4 and v5 from end to end, under a PKI of our own: what is said, what is refused, and the
// judgement of platform, module and quoting enclave together. What is expected stands here as tables.
#include <gtest/gtest.h>

#include "attestation/tdx_test_support.h"

namespace cloister::attestation {
namespace {

constexpr int64_t kNow = 1790000000;

class Tdx : public ::testing::Test {
 protected:
  Result<Verdict> verify(const TestTd& td, const TestTcb& tcb = {}) const {
    return verify_bytes(pki_.quote(td), tcb);
  }
  Result<Verdict> verify_bytes(ByteView quote, const TestTcb& tcb = {},
                               const std::optional<ByteArray<64>>& data = std::nullopt) const {
    const auto trusted = TRY(trust_collateral(pki_.collateral(kNow, tcb), {pki_.anchor()}));
    return verify_quote(quote, *trusted, kNow, data);
  }
  std::string refusal(const TestTd& td, const TestTcb& tcb = {}) const {
    const auto verdict = verify(td, tcb);
    return verdict.ok() ? "accepted" : verdict.error().message();
  }
  // The three layouts.
  static std::vector<TestTd> layouts() {
    TestTd v4, v5_10, v5_15;
    v5_10.version = v5_15.version = 5;
    v5_15.body_type = 3;
    return {v4, v5_10, v5_15};
  }

  TdxTestPki pki_;
};

ByteArray<48> filled(uint8_t byte) {
  ByteArray<48> out;
  out.fill(byte);
  return out;
}

TEST_F(Tdx, SaysWhatStandsInTheReport) {
  for (TestTd td : layouts()) {
    td.report_data.fill(0xda);
    td.registers[10] = 0x77;
    const auto verdict = verify(td);
    ASSERT_TRUE(verdict.ok()) << verdict.error().message();
    EXPECT_EQ(verdict->tee, Tee::Tdx);
    EXPECT_EQ(verdict->quote_version, td.version);
    EXPECT_EQ(verdict->status, TcbStatus::UpToDate);
    EXPECT_TRUE(verdict->simulated);
    EXPECT_FALSE(verdict->debug);
    EXPECT_EQ(verdict->mrtd, filled(0x10));
    ASSERT_EQ(verdict->rtmrs.size(), 4u);
    for (uint8_t i = 0; i < 4; ++i) EXPECT_EQ(verdict->rtmrs[i], filled(static_cast<uint8_t>(0xa0 + i)));
    EXPECT_EQ(verdict->mr_seam, filled(0x5e));
    EXPECT_EQ(verdict->mr_signer_seam, filled(0));
    EXPECT_EQ(verdict->mr_config_id, filled(0xc0));
    EXPECT_EQ(verdict->mr_owner, filled(0xc1));
    EXPECT_EQ(verdict->mr_owner_config, filled(0xc2));
    EXPECT_EQ(verdict->mr_service_td, td.body_type == 3 ? std::optional(filled(0x77)) : std::nullopt);
    EXPECT_EQ(verdict->td_attributes, 1u << 28);
    EXPECT_EQ(verdict->xfam, 0xe7u);
    EXPECT_EQ(verdict->report_data[63], 0xda);
  }
}

TEST_F(Tdx, EveryBitOfTheLowestAttributeByteIsDebug) {
  for (unsigned bit = 0; bit < 16; ++bit) {
    TestTd td;
    td.td_attributes |= 1u << bit;
    EXPECT_EQ(verify(td)->debug, bit < 8) << bit;
  }
}

TEST_F(Tdx, EveryChangedByteOfHeaderAndReportIsRefused) {
  for (const TestTd& td : layouts()) {
    const Bytes good = pki_.quote(td);
    const auto trusted = trust_collateral(pki_.collateral(kNow), {pki_.anchor()}).value();
    const size_t size = td.version == 4 ? 632 : td.body_type == 2 ? 638 : 702;
    ASSERT_TRUE(verify_quote(good, *trusted, kNow, std::nullopt).ok());
    for (size_t i = 0; i < size; ++i) {
      Bytes changed = good;
      changed[i] ^= 1;
      EXPECT_FALSE(verify_quote(changed, *trusted, kNow, std::nullopt).ok()) << td.version << " byte " << i;
    }
  }
}

TEST_F(Tdx, OtherReportDataIsDenied) {
  TestTd td;
  td.report_data.fill(1);
  ByteArray<64> other = td.report_data;
  other[63] ^= 1;
  EXPECT_TRUE(verify_bytes(pki_.quote(td), {}, td.report_data).ok());
  const auto bound_elsewhere = verify_bytes(pki_.quote(td), {}, other);
  EXPECT_EQ(bound_elsewhere.error().code(), Code::Denied);
  EXPECT_NE(bound_elsewhere.error().message().find("made for something else"), std::string::npos);
  td.report_data = {};
  const auto unbound = verify_bytes(pki_.quote(td), {}, other);
  EXPECT_EQ(unbound.error().code(), Code::Denied);
  EXPECT_EQ(unbound.error().message(), "report data: all zero, so the quote is bound to nothing");
}

TEST_F(Tdx, TheModuleMustBeIntelsAndKnown) {
  TestTd signer, attributes, unknown, before;
  signer.registers[6] = 1;
  EXPECT_EQ(refusal(signer), "TDX module: MRSIGNERSEAM");
  attributes.seam_attributes = 1;
  EXPECT_EQ(refusal(attributes), "TDX module: SEAMATTRIBUTES");
  unknown.module_version = 2;
  EXPECT_EQ(refusal(unknown), "TDX module: its version is not in TCB info");
  unknown = layouts()[2];
  unknown.module_svn_now = 2;
  EXPECT_EQ(refusal(unknown), "TDX module: its version is below every level");
  before.module_version = 0;
  before.module_svn = 0;
  EXPECT_EQ(refusal(before), "accepted") << "TDX 1.0 has no levels of its own";
  before.platform_svn = 5;
  EXPECT_EQ(refusal(before), "TCB level: the platform is below every level");
}

using enum TcbStatus;
constexpr TcbStatus kSeven[] = {UpToDate,
                                SWHardeningNeeded,
                                ConfigurationNeeded,
                                ConfigurationAndSWHardeningNeeded,
                                OutOfDate,
                                OutOfDateConfigurationNeeded,
                                Revoked};

// What a module or quoting enclave that is out of date makes of the seven.
constexpr TcbStatus kWithOldPart[] = {OutOfDate,
                                      OutOfDate,
                                      OutOfDateConfigurationNeeded,
                                      OutOfDateConfigurationNeeded,
                                      OutOfDate,
                                      OutOfDateConfigurationNeeded,
                                      Revoked};

TEST_F(Tdx, AModuleOrQuotingEnclaveCanOnlyMakeItWorse) {
  for (size_t i = 0; i < std::size(kSeven); ++i) {
    TestTcb plain, old_module, old_qe, revoked_module, revoked_qe;
    for (TestTcb* tcb : {&plain, &old_module, &old_qe, &revoked_module, &revoked_qe})
      tcb->platform = {{6, kSeven[i], {"INTEL-SA-00001"}}};
    old_module.module = {{4, UpToDate, {}}, {3, OutOfDate, {"INTEL-SA-00002", "INTEL-SA-00001"}}};
    old_qe.qe = OutOfDate;
    revoked_module.module = {{3, Revoked, {}}};
    revoked_qe.qe = Revoked;
    EXPECT_EQ(verify({}, plain)->status, kSeven[i]);
    EXPECT_EQ(verify({}, old_module)->status, kWithOldPart[i]);
    EXPECT_EQ(verify({}, old_qe)->status, kWithOldPart[i]);
    EXPECT_EQ(verify({}, revoked_module)->status, Revoked);
    EXPECT_EQ(verify({}, revoked_qe)->status, Revoked);
    const std::vector<std::string> both = {"INTEL-SA-00001", "INTEL-SA-00002"};
    EXPECT_EQ(verify({}, old_module)->advisory_ids, both);
  }
}

// Rows: the level at launch, in the order of kSeven; columns: the level now. R: relaunch advised, C: relaunch
// advised and configuration needed, =: as at launch.
constexpr const char* kRelaunch[] = {
    "=======",  // UpToDate
    "=======",  // SWHardeningNeeded
    "=======",  // ConfigurationNeeded
    "=======",  // ConfigurationAndSWHardeningNeeded
    "RRCC===",  // OutOfDate
    "CCCC===",  // OutOfDateConfigurationNeeded
    "=======",  // Revoked
};

TEST_F(Tdx, AMachineThatWasStartedOnOldFirmwareIsToBeStartedAgain) {
  for (size_t launch = 0; launch < std::size(kSeven); ++launch) {
    for (size_t now = 0; now < std::size(kSeven); ++now) {
      TestTd td = layouts()[2];
      td.platform_svn = 6;
      td.platform_svn_now = 7;
      TestTcb tcb;
      tcb.platform = {{7, kSeven[now], {"INTEL-SA-00007"}}, {6, kSeven[launch], {"INTEL-SA-00006"}}};
      const auto verdict = verify(td, tcb);
      ASSERT_TRUE(verdict.ok()) << verdict.error().message();
      const char letter = kRelaunch[launch][now];
      const TcbStatus expected = letter == 'R'   ? TDRelaunchAdvised
                                 : letter == 'C' ? TDRelaunchAdvisedConfigurationNeeded
                                                 : kSeven[launch];
      EXPECT_EQ(verdict->status, expected) << launch << now;
      EXPECT_EQ(verdict->advisory_ids, std::vector<std::string>{"INTEL-SA-00006"}) << "those at launch";
    }
  }
}

TEST_F(Tdx, TheModulesOwnAgeCountsForARelaunchToo) {
  TestTd td = layouts()[2];
  td.module_svn_now = 4;
  TestTcb tcb;
  tcb.module = {{4, UpToDate, {}}, {3, OutOfDate, {}}};
  EXPECT_EQ(verify(td, tcb)->status, TDRelaunchAdvised);
  td.body_type = 2;
  EXPECT_EQ(verify(td, tcb)->status, OutOfDate) << "TD 1.0 does not say what runs now";
}

TEST_F(Tdx, CollateralOfAnotherTeeOrTooOldIsRefused) {
  const auto trusted = trust_collateral(pki_.collateral(kNow), {pki_.anchor()}).value();
  const auto fault = [&](int64_t now, const VerifyOptions& options) {
    const auto verdict = verify_quote(pki_.quote({}), *trusted, now, std::nullopt, options);
    return verdict.ok() ? "accepted" : verdict.error().message();
  };
  VerifyOptions options;
  options.minimum_tcb_evaluation_number = 17;
  EXPECT_EQ(fault(kNow, options), "accepted");
  options.minimum_tcb_evaluation_number = 18;
  EXPECT_EQ(fault(kNow, options), "collateral is older than the required TCB evaluation number");
  EXPECT_EQ(fault(kNow + 30 * 86400, {}), "time: TCB info has expired");
  TestTcb info, qe;
  info.info_id = "SGX";
  qe.qe_id = "QE";
  EXPECT_EQ(refusal({}, info), "TCB info is for another TEE");
  EXPECT_EQ(refusal({}, qe), "QE identity is for another TEE");
  const auto foreign = trust_collateral(TdxTestPki().collateral(kNow), {pki_.anchor()});
  ASSERT_FALSE(foreign.ok());
  EXPECT_EQ(foreign.error().message(), "TCB info chain: its root is not trusted");
}

}  // namespace
}  // namespace cloister::attestation
