// The SGX extension of a PCK certificate, OID 1.2.840.113741.1.13.1 (Intel SGX PCK Certificate and CRL
// profile, 1.3.5).
#pragma once

#include "attestation/x509.h"

namespace cloister::attestation {

struct PckExtension {
  ByteArray<16> components{};  // TCB component SVNs; what TCB levels are compared with, not CPUSVN
  uint16_t pce_svn = 0;
  ByteArray<16> cpu_svn{};
  ByteArray<2> pce_id{};
  ByteArray<6> fmspc{};
  ByteArray<16> ppid{};
  uint32_t sgx_type = 0;                           // 0 standard, 1 scalable, 2 scalable with integrity
  std::optional<ByteArray<16>> platform_instance;  // multi-package platforms only
  bool has_configuration = false;
  bool dynamic_platform = false, cached_keys = false, smt_enabled = true;
};

// Every required field exactly once; unknown ones are skipped, known ones given twice are Malformed.
Result<PckExtension> parse_pck_extension(ByteView der);

}  // namespace cloister::attestation
