// SGX and TDX quotes, versions 3 to 5: layout only. Intel SGX DCAP sgx_quote_3.h/4.h/5.h; all integers
// little-endian, signatures and points big-endian.
#pragma once

#include "attestation/verifier.h"
#include "sgx/structures.h"

namespace cloister::attestation {

inline constexpr size_t kMaxQuoteSize = 64 << 10;
inline constexpr uint16_t kTd15Extended = 4;  // Quote::body_type

struct TdReport {  // TDREPORT 1.0; 1.5 adds the last two
  ByteArray<16> tee_tcb_svn;
  ByteArray<48> mr_seam, mr_signer_seam;
  uint64_t seam_attributes, td_attributes, xfam;
  ByteArray<48> mrtd, mr_config_id, mr_owner, mr_owner_config;
  ByteArray<48> rtmr[4];
  ByteArray<64> report_data;
  bool has_15 = false;
  ByteArray<16> tee_tcb_svn2{};
  ByteArray<48> mr_service_td{};
};

struct Quote {
  uint16_t version = 0;
  Tee tee = Tee::Sgx;
  ByteArray<20> user_data{};
  uint16_t body_type = 0;  // 1 SGX, 2 TD 1.0, 3 TD 1.5, 4 TD 1.5 extended
  sgx::ReportBody sgx_body{};
  TdReport td{};
  ByteView signed_part;  // header and body
  ByteArray<64> signature{};
  ByteArray<64> attestation_key{};  // x || y
  ByteView qe_report;               // 384 bytes
  ByteArray<64> qe_report_signature{};
  ByteView qe_auth_data;
  uint16_t certification_type = 0;
  ByteView certification_data;
};

// `bytes` must outlive the result. Lengths must match exactly; zero bytes behind the quote are tolerated.
Result<Quote> parse_quote(ByteView bytes);

}  // namespace cloister::attestation
