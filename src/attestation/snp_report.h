// SEV-SNP attestation reports, versions 2 to 5: layout only (AMD SEV Secure Nested Paging Firmware ABI,
// ATTESTATION_REPORT). Integers are little-endian, the signature's R and S too.
#pragma once

#include "attestation/verifier.h"

namespace cloister::attestation {

inline constexpr size_t kSnpReportSize = 1184;
inline constexpr size_t kSnpSignedSize = 0x2a0;

struct SnpReport {
  uint32_t version = 0;
  SnpFacts facts;  // all but product line, VLEK and provider, which the certificates say
  uint8_t signing_key = 0;
  bool has_cpuid = false;  // from version 3 on
  uint8_t cpu_family = 0, cpu_model = 0, cpu_stepping = 0;
  // TCB numbers as they stand: which byte is what depends on the product line.
  ByteArray<8> current_tcb{}, reported_tcb{}, committed_tcb{}, launch_tcb{};
  ByteArray<64> report_data{};
  ByteView signed_part;
  ByteArray<48> r{}, s{};  // big-endian
};

// Exactly 1184 bytes; `bytes` must outlive the result. Reserved fields must be zero, per version; bytes
// behind R and S are not signed and must be zero.
Result<SnpReport> parse_snp_report(ByteView bytes);

// `turin`: the byte order of family 1Ah.
SnpTcb decode_snp_tcb(const ByteArray<8>& raw, bool turin);

}  // namespace cloister::attestation
