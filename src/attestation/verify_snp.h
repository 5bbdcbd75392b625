// SEV-SNP: (report, VCEK or VLEK, ASK and ARK, revocation list, time, trusted roots) -> verdict. The same
// kind of pure function as verify_quote, and the same Verdict; its `status` is Unrated, because AMD signs
// numbers and leaves the judgement to the relying party. A root is trusted by the SHA-256 of its public key.
//
// Sources: AMD SEV-SNP ABI (ATTESTATION_REPORT), AMD VCEK Certificate and KDS Interface Specification.
#pragma once

#include "attestation/verifier.h"

namespace cloister::attestation {

struct SnpAnchor {
  std::string product_line;  // Milan, Genoa, Turin
  ByteArray<32> spki_sha256{};
  bool simulation = false;
};
// AMD's three root keys.
std::vector<SnpAnchor> amd_roots();
// An own root (PEM or DER, "ARK-<line>"), marked as a simulation: it proves nothing about hardware.
Result<SnpAnchor> snp_anchor_from_certificate(ByteView certificate);

struct SnpEvidence {
  ByteView report;  // 1184 bytes
  ByteView leaf;    // VCEK or VLEK, DER or PEM
  ByteView chain;   // ASK or ASVK, and ARK; PEM in any order
  ByteView crl;     // of the ARK, DER or PEM; empty: none
};

// As verify_quote: Malformed, Integrity ("check: fault"), Denied for another report data. A missing
// revocation list is refused unless `options` accept it; the verdict then says revocation_checked = false.
Result<Verdict> verify_snp(const SnpEvidence& evidence, const std::vector<SnpAnchor>& anchors, int64_t now,
                           const std::optional<ByteArray<64>>& expected_report_data,
                           const VerifyOptions& options = {});

}  // namespace cloister::attestation
