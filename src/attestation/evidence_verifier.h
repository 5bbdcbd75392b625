// EvidenceVerifier over verify_quote: what a service gives to AttestServer. It adds the clock, the trusted
// roots, and where collateral comes from (docs/adr/0005): for Intel's root only from the service's owner,
// because a host that may choose it would choose the oldest that is still valid: bundles given at the start,
// or a source that keeps them current; for a simulation root from the evidence, where every part of it is
// checked in the same way. Attached bundles that were found good are kept, because checking their six
// signatures costs more than checking a quote.
#pragma once

#include <filesystem>
#include <functional>
#include <list>
#include <mutex>

#include "attestation/attest_server.h"
#include "attestation/verifier.h"
#include "attestation/verify_snp.h"

namespace cloister::attestation {

struct QuoteVerifierOptions {
  std::vector<TrustAnchor> anchors = {intel_sgx_root()};
  uint32_t minimum_tcb_evaluation_number = 0;
  std::function<int64_t()> clock;  // seconds since 1970; empty: the system's
  // The owner's own collateral, for quotes under a root that is not a simulation; one per platform family.
  std::vector<std::shared_ptr<const TrustedCollateral>> collateral;
  // More of the owner's, found by the quote; asked when none of the above settles it. NotFound: not a
  // platform under one of its roots. May wait for the network.
  std::function<Result<std::shared_ptr<const TrustedCollateral>>(ByteView quote)> find_collateral;
  size_t cached_bundles = 16;  // attached ones
  // SEV-SNP: certificates come with the report, because they are signed for it alone. Lists of AMD's roots
  // come from the owner (DER or PEM, one per product line); without its list a product line is refused. Under
  // a simulation root the list that comes along counts.
  std::vector<SnpAnchor> snp_anchors = amd_roots();
  std::vector<Bytes> snp_crls;
};

// Reads a bundle (JSON, verifier.h) for QuoteVerifierOptions::collateral.
Result<std::shared_ptr<const TrustedCollateral>> load_collateral(const std::filesystem::path& path,
                                                                 const std::vector<TrustAnchor>& anchors);

// Adds the root certificate in `path` (PEM or DER) to `anchors`, marked as a simulation. NotFound, Malformed.
Result<void> add_simulation_root(const std::filesystem::path& path, std::vector<TrustAnchor>& anchors);

// Adds an own SEV-SNP root ("ARK-<line>"), marked as a simulation. NotFound, Malformed.
Result<void> add_simulated_snp_root(const std::filesystem::path& path, std::vector<SnpAnchor>& anchors);

class QuoteVerifier final : public EvidenceVerifier {
 public:
  explicit QuoteVerifier(QuoteVerifierOptions options);

  // `collateral`: a bundle in JSON (verifier.h), looked at only when a simulation root is trusted.
  // Malformed when the quote is none, or of another TEE than `kind` says; Unsupported when its report is of
  // TD 1.5 extended; Unavailable when there is no collateral for it; else as verify_quote: Denied only for
  // another report data.
  Result<std::shared_ptr<const Verdict>> verify(EvidenceKind kind, ByteView quote, ByteView collateral,
                                                const ReportData& expected) override;
  uint32_t kinds() const override;
  size_t cached() const;

 private:
  struct Entry {
    crypto::Digest hash;
    std::shared_ptr<const TrustedCollateral> collateral;
  };
  Result<Verdict> verify_intel(Tee tee, ByteView quote, ByteView bundle, const ReportData& expected,
                               int64_t now);
  Result<Verdict> verify_report(ByteView report, ByteView papers, const ReportData& expected,
                                int64_t now) const;
  Result<Verdict> verify_with_own(ByteView quote, const ReportData& expected, int64_t now,
                                  const VerifyOptions& options) const;
  Result<Verdict> verify_with_attached(ByteView quote, ByteView bundle, const ReportData& expected,
                                       int64_t now, const VerifyOptions& options);
  Result<std::shared_ptr<const TrustedCollateral>> trusted(ByteView bundle);
  VerifyOptions verify_options() const;

  const QuoteVerifierOptions options_;
  std::vector<TrustAnchor> simulation_anchors_;
  std::vector<SnpAnchor> amd_anchors_, snp_simulation_anchors_;
  mutable std::mutex mutex_;
  std::list<Entry> recent_;  // most recently used first
};

}  // namespace cloister::attestation
