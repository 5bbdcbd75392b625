#include "attestation/sim_pki.h"

#include <algorithm>

#include "attestation/x509.h"
#include "base/files.h"
#include "crypto/sha256.h"

namespace cloister::attestation {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxFile = 16 << 10;
constexpr uint16_t kPceSvn = 13;
constexpr uint16_t kQeSvn = 8;
constexpr ByteArray<6> kFmspc = {0x00, 0x53, 0x49, 0x4d, 0x00, 0x01};
constexpr ByteArray<2> kPceId = {0, 0};
constexpr uint8_t kVendor[16] = {0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9,
                                 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07};

Result<crypto::KeyPair> load_or_make_key(const fs::path& path) {
  Result<SecretBytes> text = read_secret_file(path, kMaxFile);
  if (text.ok()) return crypto::KeyPair::from_pem(text->expose());
  if (text.error().code() != Code::NotFound) return std::move(text.error());
  crypto::KeyPair key = TRY(crypto::KeyPair::generate());
  const SecretBytes pem = TRY(key.to_pkcs8_pem());
  TRY(write_private_file(path, pem.expose()));
  return key;
}

struct Issuer {
  const crypto::KeyPair& key;
  const IssuedCertificate* certificate;  // null: self-signed
};

// Re-uses the file when it holds `key` and the wanted extension, else issues and writes it.
Result<IssuedCertificate> load_or_issue(const fs::path& path, const CertificateRequest& request,
                                        const crypto::KeyPair& key, const Issuer& issuer) {
  Result<Bytes> text = read_file(path, kMaxFile);
  if (text.ok()) {
    IssuedCertificate found = TRY(certificate_from_pem(as_text(*text)));
    if (!has_key(found, key)) {
      return Error(Code::Integrity, path.string() + " does not belong to the key beside it",
                   "Remove the folder; a new simulated platform is made.");
    }
    if (extension_of(found, "1.2.840.113741.1.13.1") == request.sgx_extension) return found;
  } else if (text.error().code() != Code::NotFound) {
    return std::move(text.error());
  }
  IssuedCertificate made = TRY(issue_certificate(request, key.public_key(), issuer.key, issuer.certificate));
  TRY(write_public_file(path, as_bytes(made.pem)));
  return made;
}

ByteArray<16> short_id(const sgx::SimPlatform& platform, std::string_view label) {
  const ByteArray<32> full = platform.derive(label);
  ByteArray<16> out;
  std::copy_n(full.begin(), out.size(), out.begin());
  return out;
}

}  // namespace

Result<SimPki> SimPki::open(const fs::path& state, const sgx::SimPlatform& platform,
                            const SimSettings& settings) {
  if (!parse_tcb_status(tcb_status_name(settings.tcb_status))) {
    return Error(Code::InvalidArgument,
                 "TCB info has no such status: " + std::string(tcb_status_name(settings.tcb_status)));
  }
  SimPki pki(platform, settings);
  TRY(pki.load(state));
  return pki;
}

Result<void> SimPki::load(const fs::path& state) {
  TRY(make_private_folder(state));
  root_ = TRY(load_or_make_key(state / "root.key"));
  ca_ = TRY(load_or_make_key(state / "platform-ca.key"));
  pck_ = TRY(load_or_make_key(state / "pck.key"));
  signer_ = TRY(load_or_make_key(state / "tcb-signing.key"));
  attestation_ = TRY(load_or_make_key(state / "attestation.key"));

  CertificateRequest root;
  root.common_name = kRootName;
  root.is_ca = true;
  root.path_length = 1;
  root_certificate_ = TRY(load_or_issue(state / "simulation-root.pem", root, *root_, {*root_, nullptr}));
  CertificateRequest ca;
  ca.common_name = kPlatformCaName;
  ca.is_ca = true;
  ca.path_length = 0;
  const Issuer by_root{*root_, &root_certificate_};
  ca_certificate_ = TRY(load_or_issue(state / "platform-ca.pem", ca, *ca_, by_root));
  CertificateRequest signer;
  signer.common_name = kTcbSigningName;
  signer_certificate_ = TRY(load_or_issue(state / "tcb-signing.pem", signer, *signer_, by_root));

  SimPckFields fields;
  fields.ppid = short_id(platform_, "cloister sim ppid");
  fields.platform_instance = short_id(platform_, "cloister sim platform instance");
  fields.components = platform_.cpu_svn();
  fields.pce_svn = kPceSvn;
  fields.pce_id = kPceId;
  fields.fmspc = kFmspc;
  CertificateRequest pck;
  pck.common_name = kLeafName;
  pck.sgx_extension = encode_sgx_extension(fields);
  pck_certificate_ = TRY(load_or_issue(state / "pck.pem", pck, *pck_, {*ca_, &ca_certificate_}));
  return {};
}

TrustAnchor SimPki::anchor() const {
  // The certificate is ours and decoded before.
  return anchor_from_certificate(as_bytes(root_certificate_.pem), true).value();
}

// Identity of the simulated quoting enclave. Its code is this program, so the measurements are only names.
sgx::Secs SimPki::quoting_enclave() const {
  sgx::Secs secs{};
  secs.attributes.flags = sgx::kFlagInit | sgx::kFlagMode64 | sgx::kFlagProvisionKey;
  if (settings_.debug_qe) secs.attributes.flags |= sgx::kFlagDebug;
  secs.attributes.xfrm = sgx::kXfrmLegacy;
  const auto code = crypto::sha256(as_bytes("cloister simulated quoting enclave"));
  const auto signer = crypto::sha256(as_bytes("cloister simulated quoting enclave's signer"));
  std::copy(code.begin(), code.end(), secs.mrenclave);
  std::copy(signer.begin(), signer.end(), secs.mrsigner);
  secs.isv_prod_id = 1;
  secs.isv_svn = kQeSvn;
  return secs;
}

sgx::TargetInfo SimPki::target_info() const {
  const sgx::Secs qe = quoting_enclave();
  sgx::TargetInfo target{};
  std::copy(std::begin(qe.mrenclave), std::end(qe.mrenclave), target.mrenclave);
  target.attributes = qe.attributes;
  target.misc_select = qe.misc_select;
  return target;
}

Result<Bytes> SimPki::quote(const sgx::Report& report) const {
  if (!platform_.check_report(report, target_info())) {
    return Error(Code::Denied, "the report was not made on this simulated machine for its quoting enclave",
                 "The enclave and the LAS must use the same simulation state folder.");
  }
  const crypto::RawPublicKey key = attestation_->public_key().raw();
  Bytes authentication(32);
  for (size_t i = 0; i < authentication.size(); ++i) authentication[i] = static_cast<uint8_t>(i);
  // The QE's own report binds the attestation key; the PCK signs that report.
  ByteArray<64> bound{};
  const crypto::Digest digest = crypto::sha256({key, authentication});
  std::copy(digest.begin(), digest.end(), bound.begin());
  const sgx::Report qe_report = platform_.make_report(quoting_enclave(), sgx::TargetInfo{}, bound);

  ByteWriter quote;
  quote.le<uint16_t>(3).le<uint16_t>(2).le<uint32_t>(0).le(kQeSvn).le(kPceSvn).bytes(kVendor);
  quote.bytes(short_id(platform_, "cloister sim qe id")).zeros(4).bytes(object_bytes(report.body));
  const crypto::RawSignature quote_signature = TRY(attestation_->sign_raw(quote.view()));
  const crypto::RawSignature qe_signature = TRY(pck_->sign_raw(object_bytes(qe_report.body)));

  const std::string chain = pck_certificate_.pem + ca_certificate_.pem + root_certificate_.pem;
  ByteWriter tail;
  tail.bytes(quote_signature).bytes(key).bytes(object_bytes(qe_report.body)).bytes(qe_signature);
  tail.le(static_cast<uint16_t>(authentication.size())).bytes(authentication).le<uint16_t>(5);
  tail.le(static_cast<uint32_t>(chain.size())).text(chain);
  quote.field(tail.view());
  return quote.take();
}

}  // namespace cloister::attestation
