#include "attestation/evidence_verifier.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>

#include "attestation/sim_pki.h"
#include "attestation/snp_test_support.h"
#include "attestation/tdx_test_support.h"
#include "crypto/random.h"

namespace cloister::attestation {
namespace {

constexpr int64_t kNow = 1790000000;

class QuoteVerifierTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/cloister-verifier-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    platform_.emplace(sgx::SimPlatform::open(folder_ / "machine").value());
    pki_.emplace(SimPki::open(folder_ / "pki", *platform_).value());
    crypto::random_bytes(data_);
    sgx::Secs app{};
    app.attributes.flags = sgx::kFlagInit | sgx::kFlagMode64;
    quote_ = pki_->quote(platform_->make_report(app, pki_->target_info(), data_)).value();
    bundle_ = collateral_bundle_json(pki_->collateral(kNow).value());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  QuoteVerifierOptions trusting() {
    QuoteVerifierOptions options;
    options.clock = [] { return kNow; };
    EXPECT_TRUE(add_simulation_root(folder_ / "pki" / "simulation-root.pem", options.anchors).ok());
    return options;
  }
  Code refusal(QuoteVerifier& verifier, ByteView quote, std::string_view bundle, const ReportData& data) {
    const auto verdict = verifier.verify(EvidenceKind::SgxDcapQuote, quote, as_bytes(bundle), data);
    EXPECT_FALSE(verdict.ok());
    return verdict.ok() ? Code::Internal : verdict.error().code();
  }

  std::filesystem::path folder_;
  std::optional<sgx::SimPlatform> platform_;
  std::optional<SimPki> pki_;
  ReportData data_{};
  Bytes quote_;
  std::string bundle_;
};

TEST_F(QuoteVerifierTest, AcceptsSimulatedEvidenceOnlyWithItsRoot) {
  QuoteVerifier verifier(trusting());
  const auto verdict = verifier.verify(EvidenceKind::SgxDcapQuote, quote_, as_bytes(bundle_), data_);
  ASSERT_TRUE(verdict.ok()) << verdict.error().message();
  EXPECT_TRUE((*verdict)->simulated);
  EXPECT_EQ((*verdict)->report_data, data_);
  QuoteVerifierOptions intel_only;
  intel_only.clock = [] { return kNow; };
  QuoteVerifier strict(intel_only);
  EXPECT_EQ(refusal(strict, quote_, bundle_, data_), Code::Unavailable);
  EXPECT_EQ(strict.cached(), 0u);
}

TEST_F(QuoteVerifierTest, OnlyAnotherReportDataIsDenied) {
  QuoteVerifier verifier(trusting());
  ReportData other = data_;
  other[63] ^= 1;
  EXPECT_EQ(refusal(verifier, quote_, bundle_, other), Code::Denied);
  Bytes bad = quote_;
  bad[100] ^= 1;
  EXPECT_EQ(refusal(verifier, bad, bundle_, other), Code::Integrity);
  EXPECT_EQ(refusal(verifier, quote_, "", data_), Code::Unavailable);
  EXPECT_EQ(refusal(verifier, quote_, "{}", data_), Code::Malformed);
  EXPECT_EQ(refusal(verifier, Bytes(10), bundle_, data_), Code::Malformed);
}

TEST_F(QuoteVerifierTest, RefusesCollateralBelowTheRequiredEvaluationAndTooOld) {
  QuoteVerifierOptions newer = trusting();
  newer.minimum_tcb_evaluation_number = 18;
  QuoteVerifier verifier(newer);
  EXPECT_EQ(refusal(verifier, quote_, bundle_, data_), Code::Integrity);
  QuoteVerifierOptions later = trusting();
  later.clock = [] { return kNow + 60 * 86400; };
  QuoteVerifier late(later);
  EXPECT_EQ(refusal(late, quote_, bundle_, data_), Code::Integrity);
}

TEST_F(QuoteVerifierTest, CacheIsBoundedAndChecksTimeWithEachQuote) {
  QuoteVerifierOptions options = trusting();
  options.cached_bundles = 2;
  int64_t now = kNow;
  options.clock = [&now] { return now; };
  QuoteVerifier verifier(options);
  for (int64_t i = 0; i < 5; ++i) {
    const std::string bundle = collateral_bundle_json(pki_->collateral(kNow + i).value());
    EXPECT_TRUE(verifier.verify(EvidenceKind::SgxDcapQuote, quote_, as_bytes(bundle), data_).ok());
    EXPECT_LE(verifier.cached(), 2u);
  }
  EXPECT_TRUE(verifier.verify(EvidenceKind::SgxDcapQuote, quote_, as_bytes(bundle_), data_).ok());
  now += 31 * 86400;
  EXPECT_EQ(refusal(verifier, quote_, bundle_, data_), Code::Integrity) << "cached, but expired since";
}

// Stands for Intel: a root that is trusted and is no simulation.
TEST_F(QuoteVerifierTest, OnlyTheOwnersCollateralCountsUnderAHardwareRoot) {
  QuoteVerifierOptions options;
  options.clock = [] { return kNow; };
  options.anchors.push_back(pki_->anchor());
  options.anchors.back().simulation = false;
  QuoteVerifier without(options);
  EXPECT_EQ(refusal(without, quote_, bundle_, data_), Code::Unavailable) << "what the host attached";
  const auto file = folder_ / "collateral.json";
  std::ofstream(file) << bundle_;
  const auto own = load_collateral(file, options.anchors);
  ASSERT_TRUE(own.ok()) << own.error().message();
  options.collateral.push_back(*own);
  QuoteVerifier with(options);
  const auto verdict = with.verify(EvidenceKind::SgxDcapQuote, quote_, {}, data_);
  ASSERT_TRUE(verdict.ok()) << verdict.error().message();
  EXPECT_FALSE((*verdict)->simulated);
  ReportData other = data_;
  other[0] ^= 1;
  EXPECT_EQ(refusal(with, quote_, "", other), Code::Denied);
}

TEST_F(QuoteVerifierTest, SimulationRootMustBeACertificate) {
  std::vector<TrustAnchor> anchors;
  EXPECT_EQ(add_simulation_root(folder_ / "absent.pem", anchors).error().code(), Code::NotFound);
  EXPECT_FALSE(add_simulation_root(folder_ / "machine" / "machine-secret", anchors).ok());
  EXPECT_TRUE(anchors.empty());
}

// --- SEV-SNP

class SnpEvidenceTest : public ::testing::Test {
 protected:
  Bytes report(const ReportData& data) const {
    Bytes out = unsigned_snp_report(3, request_);
    std::copy(data.begin(), data.end(), out.begin() + 0x50);
    pki_.sign(out);
    return out;
  }
  Bytes papers(Bytes crl) const {
    const std::string chain = pki_.chain_pem();
    return encode(SnpPapers{pki_.leaf(request_), Bytes(chain.begin(), chain.end()), std::move(crl)});
  }
  QuoteVerifierOptions options(bool simulation) const {
    QuoteVerifierOptions out;
    out.clock = [] { return kNow; };
    out.snp_anchors.push_back(pki_.anchor());
    out.snp_anchors.back().simulation = simulation;
    return out;
  }
  // Empty: accepted.
  std::optional<Code> refusal(const QuoteVerifierOptions& with, const Bytes& evidence,
                              const Bytes& collateral) {
    QuoteVerifier verifier(with);
    const auto verdict = verifier.verify(EvidenceKind::SnpReport, evidence, collateral, data_);
    if (!verdict.ok()) return verdict.error().code();
    verdict_ = *verdict;
    return std::nullopt;
  }

  SnpTestPki pki_;
  SnpLeafRequest request_;
  ReportData data_{1, 2, 3};
  std::shared_ptr<const Verdict> verdict_;
};

TEST_F(SnpEvidenceTest, SimulatedReportsBringTheirListAlong) {
  EXPECT_EQ(refusal(options(true), report(data_), papers(pki_.crl(false))), std::nullopt);
  EXPECT_EQ(verdict_->tee, Tee::Snp);
  EXPECT_TRUE(verdict_->simulated);
  EXPECT_TRUE(verdict_->revocation_checked);
  EXPECT_EQ(refusal(options(true), report(data_), papers({})), Code::Integrity);
  EXPECT_EQ(refusal(options(true), report(data_), papers(pki_.crl(true))), Code::Integrity);
}

// Stands for AMD: a root that is trusted and is no simulation.
TEST_F(SnpEvidenceTest, UnderAHardwareRootOnlyTheOwnersListCounts) {
  QuoteVerifierOptions amd = options(false);
  EXPECT_EQ(refusal(amd, report(data_), papers(pki_.crl(false))), Code::Unavailable) << "the host's";
  amd.snp_crls = {pki_.crl(true)};
  EXPECT_EQ(refusal(amd, report(data_), papers(pki_.crl(false))), Code::Integrity) << "revoked";
  amd.snp_crls = {SnpTestPki("Milan").crl(false), pki_.crl(false)};
  EXPECT_EQ(refusal(amd, report(data_), papers({})), std::nullopt);
  EXPECT_FALSE(verdict_->simulated);
}

TEST_F(SnpEvidenceTest, OnlyAnotherReportDataIsDenied) {
  EXPECT_EQ(refusal(options(true), report({9}), papers(pki_.crl(false))), Code::Denied);
  Bytes changed = report(data_);
  changed[0x90] ^= 1;
  EXPECT_EQ(refusal(options(true), changed, papers(pki_.crl(false))), Code::Integrity);
  EXPECT_EQ(refusal(options(true), Bytes(10), papers(pki_.crl(false))), Code::Malformed);
  EXPECT_EQ(refusal(options(true), report(data_), Bytes(10)), Code::Malformed);
  EXPECT_TRUE(refusal(QuoteVerifierOptions(), report(data_), papers(pki_.crl(false))).has_value());
}

TEST_F(SnpEvidenceTest, TheKindIsOfferedOnlyWhenSomeReportCouldBeAccepted) {
  EXPECT_EQ(QuoteVerifier(QuoteVerifierOptions()).kinds(), 0b1010u) << "Intel's two";
  EXPECT_EQ(QuoteVerifier(options(true)).kinds(), 0b1110u);
  QuoteVerifierOptions amd;
  amd.snp_crls = {pki_.crl(false)};
  EXPECT_EQ(QuoteVerifier(amd).kinds(), 0b1110u);
}

// --- TDX

class TdxEvidenceTest : public QuoteVerifierTest {
 protected:
  void SetUp() override {
    QuoteVerifierTest::SetUp();
    td_.report_data = data_;
    tdx_bundle_ = collateral_bundle_json(intel_.collateral(kNow));
  }
  QuoteVerifierOptions tdx_options(bool simulation) {
    QuoteVerifierOptions out = trusting();
    out.anchors.push_back(intel_.anchor());
    out.anchors.back().simulation = simulation;
    return out;
  }
  // Empty: accepted.
  std::optional<Code> outcome(QuoteVerifier& verifier, EvidenceKind kind, ByteView quote,
                              std::string_view bundle) {
    const auto verdict = verifier.verify(kind, quote, as_bytes(bundle), data_);
    if (!verdict.ok()) return verdict.error().code();
    verdict_ = *verdict;
    return std::nullopt;
  }

  TdxTestPki intel_;
  TestTd td_;
  std::string tdx_bundle_;
  std::shared_ptr<const Verdict> verdict_;
};

TEST_F(TdxEvidenceTest, BothVersionsAreAcceptedWithTheCollateralThatCameAlong) {
  QuoteVerifier verifier(tdx_options(true));
  EXPECT_EQ(outcome(verifier, EvidenceKind::TdxQuote, intel_.quote(td_), tdx_bundle_), std::nullopt);
  EXPECT_EQ(verdict_->quote_version, 4);
  td_.version = 5;
  td_.body_type = 3;
  EXPECT_EQ(outcome(verifier, EvidenceKind::TdxQuote, intel_.quote(td_), tdx_bundle_), std::nullopt);
  EXPECT_EQ(verdict_->quote_version, 5);
  EXPECT_EQ(verdict_->tee, Tee::Tdx);
  EXPECT_TRUE(verdict_->simulated);
  td_.report_data[0] ^= 1;
  EXPECT_EQ(outcome(verifier, EvidenceKind::TdxQuote, intel_.quote(td_), tdx_bundle_), Code::Denied);
}

TEST_F(TdxEvidenceTest, TheKindMustBeThatOfTheQuote) {
  QuoteVerifier verifier(tdx_options(true));
  const Bytes tdx = intel_.quote(td_);
  EXPECT_EQ(outcome(verifier, EvidenceKind::SgxDcapQuote, tdx, tdx_bundle_), Code::Malformed);
  EXPECT_EQ(outcome(verifier, EvidenceKind::TdxQuote, quote_, bundle_), Code::Malformed);
  EXPECT_EQ(outcome(verifier, EvidenceKind::SnpReport, tdx, tdx_bundle_), Code::Malformed);
  EXPECT_EQ(outcome(verifier, EvidenceKind::TdxQuote, tdx, bundle_), Code::Integrity) << "an enclave's";
  EXPECT_EQ(outcome(verifier, EvidenceKind::SgxDcapQuote, quote_, bundle_), std::nullopt);
}

TEST_F(TdxEvidenceTest, NothingIsLookedUpForAQuoteOfAnotherKind) {
  QuoteVerifierOptions options = tdx_options(false);
  size_t asked = 0;
  options.find_collateral = [&](ByteView) -> Result<std::shared_ptr<const TrustedCollateral>> {
    ++asked;
    return Error(Code::NotFound, "none");
  };
  QuoteVerifier verifier(options);
  EXPECT_EQ(outcome(verifier, EvidenceKind::SgxDcapQuote, intel_.quote(td_), "no bundle"), Code::Malformed);
  EXPECT_EQ(verifier.cached(), 0u);
  EXPECT_EQ(asked, 0u);
  EXPECT_EQ(outcome(verifier, EvidenceKind::TdxQuote, intel_.quote(td_), "no bundle"), Code::Malformed)
      << "of the bundle, after its own was asked for";
  EXPECT_EQ(asked, 1u);
}

TEST_F(TdxEvidenceTest, AReportWhoseEndNoRuleJudgesIsRefused) {
  QuoteVerifier verifier(tdx_options(true));
  td_.version = 5;
  td_.body_type = 4;
  const auto verdict =
      verifier.verify(EvidenceKind::TdxQuote, intel_.quote(td_), as_bytes(tdx_bundle_), data_);
  ASSERT_FALSE(verdict.ok());
  EXPECT_EQ(verdict.error().code(), Code::Unsupported);
  EXPECT_EQ(verdict.error().message(),
            "the quote holds a report of TD 1.5 extended (body type 4), of which no rule judges the end");
}

// Stands for Intel: a root that is trusted and is no simulation.
TEST_F(TdxEvidenceTest, UnderAHardwareRootOnlyTheOwnersCollateralCounts) {
  QuoteVerifierOptions options = tdx_options(false);
  options.anchors = {options.anchors.back()};
  QuoteVerifier without(options);
  EXPECT_EQ(outcome(without, EvidenceKind::TdxQuote, intel_.quote(td_), tdx_bundle_), Code::Unavailable);
  TestTcb old;
  old.platform = {{7, TcbStatus::UpToDate, {}}, {6, TcbStatus::OutOfDate, {"INTEL-SA-00828"}}};
  options.collateral = {trust_collateral(intel_.collateral(kNow, old), options.anchors).value()};
  QuoteVerifier with(options);
  EXPECT_EQ(outcome(with, EvidenceKind::TdxQuote, intel_.quote(td_), tdx_bundle_), std::nullopt);
  EXPECT_EQ(verdict_->status, TcbStatus::OutOfDate) << "not what the host attached";
  EXPECT_FALSE(verdict_->simulated);
}

}  // namespace
}  // namespace cloister::attestation
