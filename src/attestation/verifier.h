// The verifier: (evidence, collateral, time, trust anchors) -> verdict. A pure function: no I/O, no clock, no
// policy, no global state. What the verdict means for a session is decided in src/policy.
//
// Sources: Intel DCAP quote formats and the order of checks of Intel's quote verification library; where
// libraries differ, Intel's behaviour is followed, except that revocation lists are mandatory and JSON is
// hashed as received.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace cloister::attestation {

enum class TcbStatus : uint8_t {
  UpToDate,
  SWHardeningNeeded,
  ConfigurationNeeded,
  ConfigurationAndSWHardeningNeeded,
  OutOfDate,
  OutOfDateConfigurationNeeded,
  Revoked,
  TDRelaunchAdvised,
  TDRelaunchAdvisedConfigurationNeeded,
  Unrated,  // SEV-SNP: AMD signs version numbers, not a judgement; policy compares them (SnpFacts)
};
std::string_view tcb_status_name(TcbStatus status);
std::optional<TcbStatus> parse_tcb_status(std::string_view name);  // the seven of the JSON files only

enum class Tee : uint8_t { Sgx, Tdx, Snp };

// Security patch levels of SEV-SNP firmware (AMD SEV-SNP ABI, TCB_VERSION).
struct SnpTcb {
  uint8_t fmc = 0;  // Turin and later only
  uint8_t boot_loader = 0, tee = 0, snp = 0, microcode = 0;
  bool operator==(const SnpTcb&) const = default;
};

struct SnpFirmware {
  uint8_t major = 0, minor = 0, build = 0;
};

// What an SEV-SNP report says, for policy. `policy` and `platform_info` as they stand in the report.
struct SnpFacts {
  std::string product_line;  // Milan, Genoa, Turin: whose root signed
  bool vlek = false;         // signed by a cloud provider's key, which names no chip
  std::string csp_id;        // VLEK: the provider
  uint32_t guest_svn = 0;
  uint32_t vmpl = 0;             // 0 to 3; 0xffffffff: the host asked for this report, not the guest
  uint64_t policy = 0;           // the guest's: bit 16 SMT allowed, 18 migration agent, 19 debug, …
  uint64_t platform_info = 0;    // bit 0 SMT, 1 TSME, 5 memory aliases checked
  bool migration_agent = false;  // the guest may be moved by another guest
  bool author_key_enabled = false;
  bool chip_id_masked = false;
  SnpTcb current_tcb, reported_tcb, committed_tcb, launch_tcb;
  SnpFirmware current_firmware, committed_firmware;
  uint64_t launch_mitigations = 0, current_mitigations = 0;  // version 5
  ByteArray<48> measurement{}, id_key_digest{}, author_key_digest{};
  ByteArray<32> host_data{}, report_id{}, report_id_ma{};
  ByteArray<16> family_id{}, image_id{};
  ByteArray<64> chip_id{};
};

// Everything here was authenticated; integers are host order, hashes as they stand in the evidence.
struct Verdict {
  Tee tee = Tee::Sgx;
  uint16_t quote_version = 0;  // SNP: of the report
  TcbStatus status = TcbStatus::Revoked;
  std::vector<std::string> advisory_ids;  // platform, then QE, then module; no duplicates
  int64_t tcb_date = 0;                   // seconds since 1970: the oldest level that was used
  int64_t earliest_expiry = 0;            // when some certificate, list or file used here ends
  uint32_t tcb_evaluation_number = 0;     // the lower of TCB info's and QE identity's
  bool simulated = false;                 // under a simulation root: proves nothing about hardware
  bool revocation_checked = true;
  bool debug = false;  // SGX ATTRIBUTES.DEBUG; TDX any TUD bit; SNP POLICY.DEBUG
  ByteArray<64> report_data{};

  // SGX
  ByteArray<32> mrenclave{}, mrsigner{};
  uint16_t isv_prod_id = 0, isv_svn = 0, config_svn = 0;
  uint64_t attributes = 0, xfrm = 0;
  ByteArray<64> config_id{};
  // TDX
  ByteArray<48> mrtd{}, mr_seam{}, mr_signer_seam{}, mr_config_id{}, mr_owner{}, mr_owner_config{};
  std::optional<ByteArray<48>> mr_service_td;  // empty: a report of TD 1.0, which does not say
  std::vector<ByteArray<48>> rtmrs;            // four
  uint64_t td_attributes = 0, xfam = 0;
  // SEV-SNP
  std::optional<SnpFacts> snp;

  // The platform
  ByteArray<16> qe_id{};
  ByteArray<6> fmspc{};
  std::string ppid;  // hex, empty when the certificate has none
  bool smt_enabled = true, dynamic_platform = false,
       cached_keys = false;  // true when the certificate does not say
};

// TD attributes or a guest policy in 16 hex digits, most significant first: as sessions take them.
std::string hex_bits(uint64_t bits);

// One root of trust: the 65-byte uncompressed P-256 point (0x04, x, y).
struct TrustAnchor {
  ByteArray<65> root_key{};
  bool simulation = false;
};
TrustAnchor intel_sgx_root();
// From a PEM or DER certificate; Malformed when it is no P-256 certificate. Marks it as a simulation root
// when asked.
Result<TrustAnchor> anchor_from_certificate(ByteView certificate, bool simulation);

// A bundle of collateral as text: PCK CRL chain, CRLs, TCB info and QE identity with signatures and chains.
// Accepts the common JSON form (inner objects and signatures separate) and the PCS form (whole bodies).
struct CollateralBundle {
  std::string pck_crl_issuer_chain, tcb_info_issuer_chain, qe_identity_issuer_chain;  // PEM
  std::string pck_certificate_chain;                                                  // PEM, may be empty
  Bytes root_ca_crl, pck_crl;                                                         // DER; empty: absent
  std::string tcb_info, qe_identity;                // exact bytes of the inner JSON objects
  Bytes tcb_info_signature, qe_identity_signature;  // r || s
};
Result<CollateralBundle> parse_collateral_bundle(std::string_view json);  // at most 4 MiB
std::string collateral_bundle_json(const CollateralBundle& bundle);

struct VerifyOptions {
  // Evidence without revocation lists is refused unless this is set; the verdict then says revocation_checked
  // = false.
  bool accept_missing_crls = false;
  uint32_t minimum_tcb_evaluation_number = 0;
};

// Collateral whose signatures were checked under one of the anchors. Immutable, shareable between threads;
// keys are kept decoded. Its validity in time is checked with each quote.
class TrustedCollateral;
Result<std::shared_ptr<const TrustedCollateral>> trust_collateral(const CollateralBundle& bundle,
                                                                  const std::vector<TrustAnchor>& anchors);

// `now`: seconds since 1970. `expected_report_data`: when given, another value in the quote is Denied.
// Malformed: cannot be parsed. Integrity: a check failed; the message begins
// with the check's name.
Result<Verdict> verify_quote(ByteView quote, const TrustedCollateral& collateral, int64_t now,
                             const std::optional<ByteArray<64>>& expected_report_data,
                             const VerifyOptions& options = {});

}  // namespace cloister::attestation
