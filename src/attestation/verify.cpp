// The checks of a quote, one after the other, each with its own name. The order follows Intel's library; a
// later check never makes up for an earlier one.
#include <openssl/x509.h>

#include <algorithm>

#include "attestation/binding.h"
#include "attestation/pck.h"
#include "attestation/quote.h"
#include "attestation/trusted_collateral.h"
#include "crypto/sha256.h"

namespace cloister::attestation {
namespace {

Error refused(std::string_view check) { return Error(Code::Integrity, std::string(check)); }

Result<Chain> pck_chain(const Quote& quote, const TrustedCollateral& collateral) {
  std::vector<Certificate> certificates;
  if (quote.certification_type == 5) {
    certificates = TRY(certificates_from_pem(as_text(quote.certification_data), &collateral.known));
  } else if (quote.certification_type >= 1 && quote.certification_type <= 4 &&
             !collateral.pck_chain.empty()) {
    certificates = collateral.pck_chain;
  } else {
    return Error(Code::Malformed, "quote: certification data of type " +
                                      std::to_string(quote.certification_type) +
                                      " and no PCK chain in the collateral");
  }
  return build_chain(std::move(certificates), collateral.anchors, "PCK chain", &collateral.known);
}

Result<Attestor> check_platform(const Quote& quote, const TrustedCollateral& collateral) {
  Chain chain = TRY(pck_chain(quote, collateral));
  if (chain.certificates.size() != 3) return refused("PCK chain: not leaf, CA and root");
  if (chain.leaf().common_name() != kLeafName) return refused("PCK chain: wrong leaf name");
  const std::string& ca = chain.issuer().common_name();
  if (ca != kPlatformCaName && ca != kProcessorCaName) return refused("PCK chain: wrong CA name");
  if (chain.root().key().point() != collateral.root.key().point())
    return refused("PCK chain: other root than collateral");
  const Bytes extension = TRY(chain.leaf().extension("1.2.840.113741.1.13.1"));
  const PckExtension parsed = TRY(parse_pck_extension(extension));
  return Attestor{std::move(chain), parsed, {}};
}

// The lists must be there, be signed by the CAs of this very chain, and name none of its certificates.
Result<bool> check_revocation(const Chain& chain, const TrustedCollateral& collateral,
                              const VerifyOptions& options) {
  if (!collateral.root_crl || !collateral.pck_crl) {
    if (!options.accept_missing_crls) return refused("revocation: a list is missing");
  }
  if (collateral.root_crl && collateral.root_crl->revokes(chain.issuer()))
    return refused("revocation: the CA is revoked");
  if (collateral.pck_crl) {
    const Crl& crl = *collateral.pck_crl;
    if (!crl.issued_by(chain.issuer())) return refused("revocation: the PCK list is of another CA");
    const bool known =
        collateral.pck_crl_key && collateral.pck_crl_key->point() == chain.issuer().key().point();
    if (!known && !crl.signed_by(chain.issuer().key()))
      return refused("revocation: signature of the PCK list");
    if (crl.revokes(chain.leaf())) return refused("revocation: the PCK is revoked");
  }
  return collateral.root_crl && collateral.pck_crl;
}

Result<int64_t> check_time(const Chain& chain, const TrustedCollateral& collateral, int64_t now) {
  const int64_t collateral_end = TRY(check_windows(collateral.windows, now));
  std::vector<Window> own;
  for (const Certificate& certificate : chain.certificates) own.push_back(certificate.window());
  const int64_t chain_end = TRY(check_windows(own, now));
  return std::min(collateral_end, chain_end);
}

Result<void> check_cross(const Quote& quote, const Attestor& platform, const TrustedCollateral& collateral,
                         const VerifyOptions& options) {
  const TcbInfo& info = collateral.tcb_info;
  if (info.tee != quote.tee) return refused("TCB info is for another TEE");
  if (collateral.qe_identity.tee != quote.tee) return refused("QE identity is for another TEE");
  if (info.fmspc != platform.extension.fmspc) return refused("TCB info is for another FMSPC");
  if (info.pce_id != platform.extension.pce_id) return refused("TCB info is for another PCE");
  if (std::min(info.evaluation_number, collateral.qe_identity.evaluation_number) <
      options.minimum_tcb_evaluation_number) {
    return refused("collateral is older than the required TCB evaluation number");
  }
  return {};
}

struct Outcome {
  TcbStatus status;
  int64_t date;
  std::vector<std::string> advisory_ids;
};

Result<Outcome> check_qe_identity(const Quote& quote, const QeIdentity& identity) {
  sgx::ReportBody qe;
  std::memcpy(&qe, quote.qe_report.data(), sizeof(qe));
  if ((qe.misc_select & identity.misc_select_mask) != identity.misc_select)
    return refused("QE identity: MISCSELECT");
  const ByteView attributes = object_bytes(qe.attributes);
  for (size_t i = 0; i < attributes.size(); ++i) {
    if ((attributes[i] & identity.attributes_mask[i]) != identity.attributes[i])
      return refused("QE identity: ATTRIBUTES");
  }
  if (std::memcmp(qe.mrsigner, identity.mr_signer.data(), 32) != 0) return refused("QE identity: MRSIGNER");
  if (qe.isv_prod_id != identity.isv_prod_id) return refused("QE identity: ISVPRODID");
  for (const IsvLevel& level : identity.levels) {
    if (level.isv_svn <= qe.isv_svn) return Outcome{level.status, level.date, level.advisory_ids};
  }
  return refused("QE identity: ISVSVN is below every level");
}

// QE report signed by the PCK; attestation key bound into the QE report. Returns that key.
Result<PublicKey> check_attestation_key(const Quote& quote, const PublicKey& pck) {
  if (!pck.verify(quote.qe_report, quote.qe_report_signature)) return refused("QE report signature");
  const crypto::Digest bound = crypto::sha256({quote.attestation_key, quote.qe_auth_data});
  sgx::ReportBody qe;
  std::memcpy(&qe, quote.qe_report.data(), sizeof(qe));
  const bool rest_zero =
      std::all_of(qe.report_data + 32, qe.report_data + 64, [](uint8_t byte) { return byte == 0; });
  if (std::memcmp(qe.report_data, bound.data(), bound.size()) != 0 || !rest_zero) {
    return refused("the attestation key is not the QE's");
  }
  return PublicKey::from_point(quote.attestation_key);
}

// Everything that check_platform and check_attestation_key look at; lengths keep fields apart.
crypto::Digest attestor_key(const Quote& quote) {
  uint8_t lengths[12];
  store_le<uint64_t>(lengths, quote.certification_data.size());
  store_le<uint16_t>(lengths + 8, quote.certification_type);
  store_le<uint16_t>(lengths + 10, static_cast<uint16_t>(quote.qe_auth_data.size()));
  return crypto::sha256({lengths, quote.certification_data, quote.qe_report, quote.qe_report_signature,
                         quote.attestation_key, quote.qe_auth_data});
}

const TdxModule* module_of(const TcbInfo& info, uint8_t version) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  const std::string id = std::string("TDX_") + kDigits[version >> 4] + kDigits[version & 15];
  for (const TdxModule& module : info.module_identities) {
    if (module.id == id) return &module;
  }
  return nullptr;
}

// SEAM module: who signed it and with which attributes.
Result<const TdxModule*> check_module(const Quote& quote, const TcbInfo& info, const ByteArray<16>& svn) {
  const TdxModule* module = nullptr;
  if (svn[1] == 0) {
    module = info.module ? &*info.module : nullptr;
  } else {
    module = module_of(info, svn[1]);
  }
  if (module == nullptr) return refused("TDX module: its version is not in TCB info");
  if (quote.td.mr_signer_seam != module->mr_signer) return refused("TDX module: MRSIGNERSEAM");
  if ((quote.td.seam_attributes & module->attributes_mask) != module->attributes ||
      quote.td.seam_attributes != 0) {
    return refused("TDX module: SEAMATTRIBUTES");
  }
  return module;
}

Result<Outcome> platform_level(const TcbInfo& info, const PckExtension& pck, Tee tee,
                               const ByteArray<16>& tdx_svn) {
  const size_t first = tdx_svn[1] > 0 ? 2 : 0;  // from TDX 1.5 on bytes 0 and 1 are the module's own version
  for (const TcbLevel& level : info.levels) {
    bool matches = pck.pce_svn >= level.pce_svn;
    for (size_t i = 0; i < 16; ++i) matches = matches && pck.components[i] >= level.sgx_components[i];
    for (size_t i = first; tee == Tee::Tdx && i < 16; ++i)
      matches = matches && tdx_svn[i] >= level.tdx_components[i];
    if (matches) return Outcome{level.status, level.date, level.advisory_ids};
  }
  return refused("TCB level: the platform is below every level");
}

Result<std::optional<Outcome>> module_level(const TdxModule* module, const ByteArray<16>& svn) {
  std::optional<Outcome> none;
  if (svn[1] == 0) return none;
  for (const IsvLevel& level : module->levels) {
    if (level.isv_svn > svn[0]) continue;
    if (level.status != TcbStatus::UpToDate && level.status != TcbStatus::OutOfDate &&
        level.status != TcbStatus::Revoked) {
      return refused("TDX module: impossible status");
    }
    return std::optional<Outcome>(Outcome{level.status, level.date, level.advisory_ids});
  }
  return refused("TDX module: its version is below every level");
}

// What a component's own status does to the platform's: only OutOfDate and Revoked have an effect.
TcbStatus converge(TcbStatus platform, TcbStatus component) {
  using enum TcbStatus;
  if (platform == Revoked || component == Revoked) return Revoked;
  if (component != OutOfDate) return platform;
  switch (platform) {
    case UpToDate:
    case SWHardeningNeeded:
      return OutOfDate;
    case ConfigurationNeeded:
    case ConfigurationAndSWHardeningNeeded:
      return OutOfDateConfigurationNeeded;
    default:
      return platform;
  }
}

void absorb(Outcome& total, const Outcome& part) {
  total.status = converge(total.status, part.status);
  total.date = std::min(total.date, part.date);
  for (const std::string& id : part.advisory_ids) {
    if (std::find(total.advisory_ids.begin(), total.advisory_ids.end(), id) == total.advisory_ids.end()) {
      total.advisory_ids.push_back(id);
    }
  }
}

Result<Outcome> evaluate(const Quote& quote, const Attestor& platform, const TcbInfo& info, const Outcome& qe,
                         const ByteArray<16>& tdx_svn) {
  const TdxModule* module = nullptr;
  if (quote.tee == Tee::Tdx) module = TRY(check_module(quote, info, tdx_svn));
  Outcome total = TRY(platform_level(info, platform.extension, quote.tee, tdx_svn));
  absorb(total, qe);
  if (quote.tee == Tee::Tdx) {
    const std::optional<Outcome> own = TRY(module_level(module, tdx_svn));
    if (own) absorb(total, *own);
  }
  return total;
}

bool good_enough_now(TcbStatus status) {
  using enum TcbStatus;
  return status == UpToDate || status == SWHardeningNeeded || status == ConfigurationNeeded ||
         status == ConfigurationAndSWHardeningNeeded;
}

// TD 1.5: a TD launched on old firmware that has been updated since needs a relaunch, not a new machine.
TcbStatus relaunch_rule(TcbStatus launch, TcbStatus current) {
  using enum TcbStatus;
  if ((launch != OutOfDate && launch != OutOfDateConfigurationNeeded) || !good_enough_now(current))
    return launch;
  const bool configuration = launch == OutOfDateConfigurationNeeded || current == ConfigurationNeeded ||
                             current == ConfigurationAndSWHardeningNeeded;
  return configuration ? TDRelaunchAdvisedConfigurationNeeded : TDRelaunchAdvised;
}

Result<Outcome> evaluate_all(const Quote& quote, const Attestor& platform, const TcbInfo& info,
                             const Outcome& qe) {
  Outcome total = TRY(evaluate(quote, platform, info, qe, quote.td.tee_tcb_svn));
  if (quote.tee == Tee::Tdx && quote.td.has_15) {
    const Outcome current = TRY(evaluate(quote, platform, info, qe, quote.td.tee_tcb_svn2));
    total.status = relaunch_rule(total.status, current.status);
  }
  return total;
}

void fill_sgx(const Quote& quote, Verdict& v) {
  const sgx::ReportBody& body = quote.sgx_body;
  std::memcpy(v.mrenclave.data(), body.mrenclave, 32);
  std::memcpy(v.mrsigner.data(), body.mrsigner, 32);
  std::memcpy(v.config_id.data(), body.config_id, 64);
  std::memcpy(v.report_data.data(), body.report_data, 64);
  v.isv_prod_id = body.isv_prod_id;
  v.isv_svn = body.isv_svn;
  v.config_svn = body.config_svn;
  v.attributes = body.attributes.flags;
  v.xfrm = body.attributes.xfrm;
  v.debug = (body.attributes.flags & sgx::kFlagDebug) != 0;
}

void fill_tdx(const Quote& quote, Verdict& v) {
  const TdReport& td = quote.td;
  v.mrtd = td.mrtd;
  v.mr_seam = td.mr_seam;
  v.mr_signer_seam = td.mr_signer_seam;
  v.mr_config_id = td.mr_config_id;
  v.mr_owner = td.mr_owner;
  v.mr_owner_config = td.mr_owner_config;
  if (td.has_15) v.mr_service_td = td.mr_service_td;
  v.rtmrs.assign(std::begin(td.rtmr), std::end(td.rtmr));
  v.td_attributes = td.td_attributes;
  v.xfam = td.xfam;
  v.report_data = td.report_data;
  v.debug = (td.td_attributes & 0xff) != 0;
}

void fill_platform(const Quote& quote, const PckExtension& pck, Verdict& v) {
  std::memcpy(v.qe_id.data(), quote.user_data.data(), v.qe_id.size());
  v.fmspc = pck.fmspc;
  v.ppid = to_hex(pck.ppid);
  if (pck.has_configuration) {
    v.smt_enabled = pck.smt_enabled;
    v.dynamic_platform = pck.dynamic_platform;
    v.cached_keys = pck.cached_keys;
  }
}

}  // namespace

Result<Verdict> verify_quote(ByteView bytes, const TrustedCollateral& collateral, int64_t now,
                             const std::optional<ByteArray<64>>& expected_report_data,
                             const VerifyOptions& options) {
  const Quote quote = TRY(parse_quote(bytes));
  const crypto::Digest key = attestor_key(quote);
  std::shared_ptr<const Attestor> known = collateral.attestors.find(key);
  std::shared_ptr<Attestor> fresh;
  if (!known) known = fresh = std::make_shared<Attestor>(TRY(check_platform(quote, collateral)));
  const Attestor& platform = *known;
  Verdict v;
  v.revocation_checked = TRY(check_revocation(platform.chain, collateral, options));
  v.earliest_expiry = TRY(check_time(platform.chain, collateral, now));
  TRY(check_cross(quote, platform, collateral, options));
  if (fresh) fresh->attestation_key = TRY(check_attestation_key(quote, platform.chain.leaf().key()));
  if (!platform.attestation_key->verify(quote.signed_part, quote.signature))
    return refused("quote signature");
  const Outcome qe = TRY(check_qe_identity(quote, collateral.qe_identity));
  Outcome total = TRY(evaluate_all(quote, platform, collateral.tcb_info, qe));
  v.tee = quote.tee;
  v.quote_version = quote.version;
  v.status = total.status;
  v.advisory_ids = std::move(total.advisory_ids);
  v.tcb_date = total.date;
  v.tcb_evaluation_number =
      std::min(collateral.tcb_info.evaluation_number, collateral.qe_identity.evaluation_number);
  v.simulated = platform.chain.simulation || collateral.simulation;
  if (quote.tee == Tee::Sgx) {
    fill_sgx(quote, v);
  } else {
    fill_tdx(quote, v);
  }
  fill_platform(quote, platform.extension, v);
  if (expected_report_data && !equal_constant_time(*expected_report_data, v.report_data)) {
    return other_report_data("quote", v.report_data);
  }
  if (fresh) collateral.attestors.keep(key, std::move(fresh));
  return v;
}

}  // namespace cloister::attestation
