#include "attestation/evidence_verifier.h"

#include <algorithm>
#include <ctime>

#include "attestation/quote.h"
#include "base/files.h"

namespace cloister::attestation {
namespace {

// Genuine under the owner's collateral but for something else (Denied): no other collateral changes that.
bool settled(const Result<Verdict>& verdict) {
  return verdict.ok() || verdict.error().code() == Code::Denied;
}

// What the layout alone settles, before anything is looked up for the quote or verified. Nothing in a verdict
// tells what stands in the last 237 bytes of an extended report, so who decides by verdicts refuses it.
Result<void> check_kind(ByteView bytes, Tee tee) {
  const Quote quote = TRY(parse_quote(bytes));
  if (quote.tee != tee) return Error(Code::Malformed, "the quote is of another TEE than the request says");
  if (quote.body_type != kTd15Extended) return {};
  return Error(Code::Unsupported,
               "the quote holds a report of TD 1.5 extended (body type 4), of which no rule judges the end");
}

}  // namespace

Result<void> add_simulation_root(const std::filesystem::path& path, std::vector<TrustAnchor>& anchors) {
  const Bytes content = TRY(read_file(path, 64 << 10));
  Result<TrustAnchor> anchor = anchor_from_certificate(content, true);
  if (!anchor.ok()) return std::move(anchor.error()).within(path.string());
  anchors.push_back(*anchor);
  return {};
}

Result<void> add_simulated_snp_root(const std::filesystem::path& path, std::vector<SnpAnchor>& anchors) {
  const Bytes content = TRY(read_file(path, 64 << 10));
  Result<SnpAnchor> anchor = snp_anchor_from_certificate(content);
  if (!anchor.ok()) return std::move(anchor.error()).within(path.string());
  anchors.push_back(std::move(*anchor));
  return {};
}

Result<std::shared_ptr<const TrustedCollateral>> load_collateral(const std::filesystem::path& path,
                                                                 const std::vector<TrustAnchor>& anchors) {
  const Bytes content = TRY(read_file(path, 8 << 20));
  const CollateralBundle bundle = TRY(parse_collateral_bundle(as_text(content)));
  return trust_collateral(bundle, anchors);
}

QuoteVerifier::QuoteVerifier(QuoteVerifierOptions options) : options_(std::move(options)) {
  for (const TrustAnchor& anchor : options_.anchors) {
    if (anchor.simulation) simulation_anchors_.push_back(anchor);
  }
  for (const SnpAnchor& anchor : options_.snp_anchors) {
    (anchor.simulation ? snp_simulation_anchors_ : amd_anchors_).push_back(anchor);
  }
}

VerifyOptions QuoteVerifier::verify_options() const {
  VerifyOptions options;
  options.minimum_tcb_evaluation_number = options_.minimum_tcb_evaluation_number;
  return options;
}

Result<std::shared_ptr<const Verdict>> QuoteVerifier::verify(EvidenceKind kind, ByteView quote,
                                                             ByteView collateral,
                                                             const ReportData& expected) {
  const int64_t now = options_.clock ? options_.clock() : static_cast<int64_t>(std::time(nullptr));
  const Tee tee = kind == EvidenceKind::TdxQuote ? Tee::Tdx : Tee::Sgx;
  Result<Verdict> verdict = kind == EvidenceKind::SnpReport
                                ? verify_report(quote, collateral, expected, now)
                                : verify_intel(tee, quote, collateral, expected, now);
  if (!verdict.ok()) return std::move(verdict.error());
  return std::shared_ptr<const Verdict>(std::make_shared<Verdict>(std::move(*verdict)));
}

uint32_t QuoteVerifier::kinds() const {
  const auto bit = [](EvidenceKind kind) { return 1u << static_cast<unsigned>(kind); };
  const bool machines = !snp_simulation_anchors_.empty() || !options_.snp_crls.empty();
  return bit(EvidenceKind::SgxDcapQuote) | bit(EvidenceKind::TdxQuote) |
         (machines ? bit(EvidenceKind::SnpReport) : 0);
}

// What came along is tried first: when it is known, and on a simulated platform it always is after the first
// time, that is the cheapest. It can only end in a simulated verdict.
Result<Verdict> QuoteVerifier::verify_intel(Tee tee, ByteView quote, ByteView bundle,
                                            const ReportData& expected, int64_t now) {
  TRY(check_kind(quote, tee));
  const VerifyOptions options = verify_options();
  if (simulation_anchors_.empty() || bundle.empty()) return verify_with_own(quote, expected, now, options);
  Result<Verdict> attached = verify_with_attached(quote, bundle, expected, now, options);
  if (settled(attached)) return attached;
  Result<Verdict> own = verify_with_own(quote, expected, now, options);
  return settled(own) ? std::move(own) : std::move(attached);
}

Result<Verdict> QuoteVerifier::verify_report(ByteView report, ByteView bytes, const ReportData& expected,
                                             int64_t now) const {
  const SnpPapers papers = TRY(decode_snp_papers(bytes));
  SnpEvidence evidence{report, papers.leaf, papers.chain, {}};
  Result<Verdict> verdict = Error(Code::Unavailable, "no revocation list of AMD's for this report",
                                  "Give the service the list of the product line.");
  for (const Bytes& crl : options_.snp_crls) {
    evidence.crl = crl;
    verdict = verify_snp(evidence, amd_anchors_, now, expected);
    if (settled(verdict)) return verdict;
  }
  if (snp_simulation_anchors_.empty()) return verdict;
  evidence.crl = papers.crl;
  return verify_snp(evidence, snp_simulation_anchors_, now, expected);
}

Result<Verdict> QuoteVerifier::verify_with_own(ByteView quote, const ReportData& expected, int64_t now,
                                               const VerifyOptions& options) const {
  Result<Verdict> verdict =
      Error(Code::Unavailable, "no collateral for the platform of this quote",
            "Give the service a collateral bundle, or the root of the simulated platform to trust.");
  for (const auto& collateral : options_.collateral) {
    verdict = verify_quote(quote, *collateral, now, expected, options);
    if (settled(verdict)) return verdict;
  }
  if (!options_.find_collateral) return verdict;
  const auto found = options_.find_collateral(quote);
  if (found.ok()) return verify_quote(quote, **found, now, expected, options);
  if (found.error().code() == Code::NotFound) return verdict;
  return Error(found.error());
}

Result<Verdict> QuoteVerifier::verify_with_attached(ByteView quote, ByteView bundle,
                                                    const ReportData& expected, int64_t now,
                                                    const VerifyOptions& options) {
  const std::shared_ptr<const TrustedCollateral> collateral = TRY(trusted(bundle));
  return verify_quote(quote, *collateral, now, expected, options);
}

Result<std::shared_ptr<const TrustedCollateral>> QuoteVerifier::trusted(ByteView bundle) {
  const crypto::Digest hash = crypto::sha256(bundle);
  {
    const std::lock_guard lock(mutex_);
    const auto found =
        std::find_if(recent_.begin(), recent_.end(), [&](const Entry& entry) { return entry.hash == hash; });
    if (found != recent_.end()) {
      recent_.splice(recent_.begin(), recent_, found);
      return found->collateral;
    }
  }
  // Outside the lock: a slow bundle holds up nobody else. Only bundles under a trusted root are kept, so
  // nobody can push others' entries out without a platform of his own.
  const CollateralBundle parsed = TRY(parse_collateral_bundle(as_text(bundle)));
  std::shared_ptr<const TrustedCollateral> made = TRY(trust_collateral(parsed, simulation_anchors_));
  const std::lock_guard lock(mutex_);
  recent_.push_front({hash, made});
  while (recent_.size() > options_.cached_bundles) recent_.pop_back();
  return made;
}

size_t QuoteVerifier::cached() const {
  const std::lock_guard lock(mutex_);
  return recent_.size();
}

}  // namespace cloister::attestation
