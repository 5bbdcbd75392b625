// A small AMD of our own: ARK, ASK, ASVK, leaf keys and reports as the firmware makes them, for tests, the
// fuzz corpus and tools. Keys are RSA-2048 in place of 4096, which nothing depends on.
#pragma once

#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <memory>

#include "attestation/snp_report.h"
#include "attestation/verify_snp.h"
#include "crypto/encoding.h"

namespace cloister::attestation {

using TestKey = std::shared_ptr<EVP_PKEY>;
using TestX509 = std::shared_ptr<X509>;

struct SnpLeafRequest {
  std::string name = "SEV-VCEK", product = "Genoa-B1", csp_id;
  ByteArray<8> tcb = {7, 1, 0, 0, 0, 0, 22, 200};
  bool turin = false;
  bool without_microcode = false;
  Bytes hwid = Bytes(64, 0x02);  // a first byte that looks like a DER tag
};

inline void add_extension(X509* certificate, const char* oid, const Bytes& content) {
  const std::unique_ptr<ASN1_OBJECT, decltype(&ASN1_OBJECT_free)> object(OBJ_txt2obj(oid, 1),
                                                                         ASN1_OBJECT_free);
  const std::unique_ptr<ASN1_OCTET_STRING, decltype(&ASN1_STRING_free)> octets(ASN1_OCTET_STRING_new(),
                                                                               ASN1_STRING_free);
  ASN1_OCTET_STRING_set(octets.get(), content.data(), static_cast<int>(content.size()));
  X509_EXTENSION* extension = X509_EXTENSION_create_by_OBJ(nullptr, object.get(), 0, octets.get());
  CLOISTER_CHECK(X509_add_ext(certificate, extension, -1) == 1);
  X509_EXTENSION_free(extension);
}

inline Bytes der_level(uint8_t value) { return value < 0x80 ? Bytes{2, 1, value} : Bytes{2, 2, 0, value}; }
inline Bytes der_text(const std::string& text) {
  Bytes out = {0x16, static_cast<uint8_t>(text.size())};
  out.insert(out.end(), text.begin(), text.end());
  return out;
}

// RSA-PSS, SHA-384, 48 bytes of salt.
inline std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> pss_context(EVP_PKEY* key) {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_PKEY_CTX* parameters = nullptr;
  CLOISTER_CHECK(EVP_DigestSignInit(context.get(), &parameters, EVP_sha384(), nullptr, key) == 1);
  CLOISTER_CHECK(EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) == 1);
  CLOISTER_CHECK(EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, 48) == 1);
  return context;
}

inline TestX509 bare_certificate(const std::string& name, EVP_PKEY* key, const X509* issuer, long serial) {
  TestX509 out(X509_new(), X509_free);
  X509_set_version(out.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(out.get()), serial);
  ASN1_TIME_set_string(X509_getm_notBefore(out.get()), "20200101000000Z");
  ASN1_TIME_set_string(X509_getm_notAfter(out.get()), "20451231235959Z");
  X509_NAME_add_entry_by_txt(X509_get_subject_name(out.get()), "CN", MBSTRING_ASC,
                             reinterpret_cast<const uint8_t*>(name.data()), static_cast<int>(name.size()), -1,
                             0);
  X509_set_issuer_name(out.get(), X509_get_subject_name(issuer != nullptr ? issuer : out.get()));
  X509_set_pubkey(out.get(), key);
  return out;
}

inline Bytes der_of(const TestX509& certificate) {
  uint8_t* der = nullptr;
  const int size = i2d_X509(certificate.get(), &der);
  CLOISTER_CHECK(size > 0);
  Bytes out(der, der + size);
  OPENSSL_free(der);
  return out;
}

class SnpTestPki {
 public:
  explicit SnpTestPki(const std::string& line = "Genoa")
      : line_(line), ark_key_(rsa()), ask_key_(rsa()), leaf_key_(EVP_EC_gen("P-384"), EVP_PKEY_free) {
    ark = ca("ARK-" + line, ark_key_.get(), nullptr, 1);
    ask = ca("SEV-" + line, ask_key_.get(), ark.get(), 2);
    asvk = ca("SEV-VLEK-" + line, ask_key_.get(), ark.get(), 3);
  }

  SnpAnchor anchor() const {
    const Bytes der = der_of(ark);
    return snp_anchor_from_certificate(der).value();
  }
  std::string chain_pem(bool vlek = false) const {
    return crypto::pem_encode("CERTIFICATE", der_of(vlek ? asvk : ask)) +
           crypto::pem_encode("CERTIFICATE", der_of(ark));
  }
  Bytes leaf(const SnpLeafRequest& request) const {
    const bool vlek = request.name == "SEV-VLEK";
    const TestX509 out = bare_certificate(request.name, leaf_key_.get(), (vlek ? asvk : ask).get(), 0);
    const std::string base = "1.3.6.1.4.1.3704.1.";
    const auto add = [&](const std::string& suffix, const Bytes& content) {
      add_extension(out.get(), (base + suffix).c_str(), content);
    };
    const SnpTcb tcb = decode_snp_tcb(request.tcb, request.turin);
    add("1", der_level(1));
    add("2", der_text(request.product));
    add("3.1", der_level(tcb.boot_loader));
    add("3.2", der_level(tcb.tee));
    add("3.3", der_level(tcb.snp));
    if (!request.without_microcode) add("3.8", der_level(tcb.microcode));
    if (request.turin) add("3.9", der_level(tcb.fmc));
    if (!request.hwid.empty()) add("4", request.hwid);
    if (!request.csp_id.empty()) add("5", der_text(request.csp_id));
    CLOISTER_CHECK(X509_sign_ctx(out.get(), pss_context(ask_key_.get()).get()) > 0);
    return der_of(out);
  }
  // The ARK's list, naming the ASK when asked.
  Bytes crl(bool revoke_ask, const char* next_update = "20451231235959Z") const {
    const std::unique_ptr<X509_CRL, decltype(&X509_CRL_free)> list(X509_CRL_new(), X509_CRL_free);
    X509_CRL_set_version(list.get(), 1);
    X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(ark.get()));
    const std::unique_ptr<ASN1_TIME, decltype(&ASN1_STRING_free)> from(ASN1_TIME_new(), ASN1_STRING_free),
        to(ASN1_TIME_new(), ASN1_STRING_free);
    ASN1_TIME_set_string(from.get(), "20200101000000Z");
    ASN1_TIME_set_string(to.get(), next_update);
    X509_CRL_set1_lastUpdate(list.get(), from.get());
    X509_CRL_set1_nextUpdate(list.get(), to.get());
    if (revoke_ask) {
      X509_REVOKED* entry = X509_REVOKED_new();
      X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(ask.get()));
      X509_REVOKED_set_revocationDate(entry, from.get());
      X509_CRL_add0_revoked(list.get(), entry);
    }
    CLOISTER_CHECK(X509_CRL_sign_ctx(list.get(), pss_context(ark_key_.get()).get()) > 0);
    uint8_t* der = nullptr;
    const int size = i2d_X509_CRL(list.get(), &der);
    Bytes out(der, der + size);
    OPENSSL_free(der);
    return out;
  }
  // Fills R and S over the first 0x2a0 bytes.
  void sign(Bytes& report) const {
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
    uint8_t der[128];
    size_t size = sizeof(der);
    CLOISTER_CHECK(EVP_DigestSignInit(context.get(), nullptr, EVP_sha384(), nullptr, leaf_key_.get()) == 1);
    CLOISTER_CHECK(EVP_DigestSign(context.get(), der, &size, report.data(), kSnpSignedSize) == 1);
    const uint8_t* at = der;
    ECDSA_SIG* pair = d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(size));
    BN_bn2lebinpad(ECDSA_SIG_get0_r(pair), report.data() + kSnpSignedSize, 72);
    BN_bn2lebinpad(ECDSA_SIG_get0_s(pair), report.data() + kSnpSignedSize + 72, 72);
    ECDSA_SIG_free(pair);
  }

  TestX509 ark, ask, asvk;

 private:
  static TestKey rsa() { return {EVP_RSA_gen(2048), EVP_PKEY_free}; }
  TestX509 ca(const std::string& name, EVP_PKEY* key, const X509* issuer, long serial) const {
    TestX509 out = bare_certificate(name, key, issuer, serial);
    add_extension(out.get(), "2.5.29.19", {0x30, 3, 1, 1, 0xff});  // CA:TRUE
    CLOISTER_CHECK(X509_sign_ctx(out.get(), pss_context(ark_key_.get()).get()) > 0);
    return out;
  }

  std::string line_;
  TestKey ark_key_, ask_key_, leaf_key_;
};

// A report as the firmware writes it, without signature.
inline Bytes unsigned_snp_report(uint32_t version, const SnpLeafRequest& leaf) {
  Bytes out(kSnpReportSize);
  store_le<uint32_t>(out.data(), version);
  store_le<uint64_t>(out.data() + 0x08, 0x30000);
  store_le<uint32_t>(out.data() + 0x34, 1);
  for (const size_t at : {0x38, 0x180, 0x1e0, 0x1f0}) std::copy(leaf.tcb.begin(), leaf.tcb.end(), &out[at]);
  store_le<uint64_t>(out.data() + 0x40, 0x25);
  if (leaf.name == "SEV-VLEK") out[0x48] = 4;
  std::fill_n(out.begin() + 0x50, 64, 0xda);
  std::fill_n(out.begin() + 0x90, 48, 0x3e);
  if (version >= 3) {
    out[0x188] = leaf.turin ? 0x1a : 0x19;
    out[0x189] = 0x11;
  }
  std::copy(leaf.hwid.begin(), leaf.hwid.end(), out.begin() + 0x1a0);
  if (version >= 5) out[0x1f8] = 1;
  return out;
}

}  // namespace cloister::attestation
