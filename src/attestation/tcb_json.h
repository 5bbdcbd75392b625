// TCB info (versions 2 and 3) and QE identity (version 2): signed JSON of the provisioning service. Parsed
// only after the signature over the exact bytes was checked; nesting, size and duplicate keys are bounded
// before any library sees it.
#pragma once

#include "attestation/verifier.h"

namespace cloister::attestation {

inline constexpr size_t kMaxJsonSize = 4 << 20;

struct TcbLevel {
  ByteArray<16> sgx_components{};
  ByteArray<16> tdx_components{};  // zero for SGX
  uint16_t pce_svn = 0;
  TcbStatus status = TcbStatus::Revoked;
  int64_t date = 0;
  std::vector<std::string> advisory_ids;
};

struct IsvLevel {  // QE and TDX module levels
  uint16_t isv_svn = 0;
  TcbStatus status = TcbStatus::Revoked;
  int64_t date = 0;
  std::vector<std::string> advisory_ids;
};

struct TdxModule {
  std::string id;  // empty for the plain `tdxModule`
  ByteArray<48> mr_signer{};
  uint64_t attributes = 0, attributes_mask = 0;
  std::vector<IsvLevel> levels;
};

struct TcbInfo {
  uint32_t version = 0;
  Tee tee = Tee::Sgx;
  int64_t issued = 0, next_update = 0;
  ByteArray<6> fmspc{};
  ByteArray<2> pce_id{};
  uint32_t evaluation_number = 0;
  std::optional<TdxModule> module;
  std::vector<TdxModule> module_identities;
  std::vector<TcbLevel> levels;  // highest first
};

struct QeIdentity {
  Tee tee = Tee::Sgx;
  int64_t issued = 0, next_update = 0;
  uint32_t evaluation_number = 0;
  uint32_t misc_select = 0, misc_select_mask = 0;
  ByteArray<16> attributes{}, attributes_mask{};
  ByteArray<32> mr_signer{};
  uint16_t isv_prod_id = 0;
  std::vector<IsvLevel> levels;
};

// The body of a provisioning service's answer, {"KEY":{…},"signature":"HEX"}: the inner object's exact bytes,
// because they are what is signed. The inner object alone comes back as it is, without signature.
struct SignedJson {
  std::string text;
  Bytes signature;
};
Result<SignedJson> split_signed_json(std::string_view body, std::string_view key);

Result<TcbInfo> parse_tcb_info(std::string_view json);
Result<QeIdentity> parse_qe_identity(std::string_view json);
Result<int64_t> parse_rfc3339(std::string_view text);  // "2025-07-04T10:28:44Z"
std::string format_rfc3339(int64_t seconds);           // "out of range" for years without four digits

}  // namespace cloister::attestation
