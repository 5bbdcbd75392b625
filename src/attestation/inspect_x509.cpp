#include "attestation/inspect_x509.h"

#include <openssl/bn.h>
#include <openssl/x509v3.h>

#include <memory>

#include "attestation/amd_x509.h"
#include "attestation/pck.h"
#include "attestation/tcb_json.h"
#include "crypto/sha256.h"

namespace cloister::attestation {
namespace {

constexpr int kMaxEntries = 10000;
constexpr const char* kSgxExtension = "1.2.840.113741.1.13.1";

std::string name_text(const X509_NAME* name) {
  const std::unique_ptr<BIO, decltype(&BIO_free_all)> bio(BIO_new(BIO_s_mem()), BIO_free_all);
  if (!bio || X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253) < 0) return {};
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<size_t>(size)};
}

std::string serial_text(const ASN1_INTEGER* serial) {
  const std::unique_ptr<BIGNUM, decltype(&BN_free)> number(ASN1_INTEGER_to_BN(serial, nullptr), BN_free);
  if (!number) return {};
  const std::unique_ptr<char, void (*)(char*)> text(BN_bn2hex(number.get()),
                                                    [](char* p) { OPENSSL_free(p); });
  return text ? text.get() : "";
}

OrderedJson time_text(const ASN1_TIME* time) {
  const auto seconds = time == nullptr ? Result<int64_t>(0) : x509_seconds(time);
  if (time == nullptr || !seconds.ok()) return nullptr;
  return format_rfc3339(*seconds);
}

std::string algorithm_name(int nid) {
  const char* name = OBJ_nid2ln(nid);
  return name != nullptr ? name : "unknown";
}

OrderedJson public_key(X509* x509) {
  OrderedJson out;
  EVP_PKEY* key = X509_get0_pubkey(x509);
  if (key != nullptr) {
    char group[64] = "";
    size_t length = 0;
    const bool named = EVP_PKEY_get_group_name(key, group, sizeof(group), &length) == 1;
    out["algorithm"] = algorithm_name(EVP_PKEY_get_base_id(key));
    if (named) out["curve"] = std::string(group);
    out["bits"] = EVP_PKEY_get_bits(key);
  }
  const auto digest = x509_spki_sha256(x509);
  if (digest.ok()) out["spki_sha256"] = to_hex(*digest);
  return out;
}

OrderedJson sgx_extension(const PckExtension& fields) {
  OrderedJson out;
  static constexpr const char* kTypes[] = {"standard", "scalable", "scalable with integrity"};
  out["ppid"] = to_hex(fields.ppid);
  out["components"] = fields.components;
  out["pce_svn"] = fields.pce_svn;
  out["cpu_svn"] = to_hex(fields.cpu_svn);
  out["pce_id"] = to_hex(fields.pce_id);
  out["fmspc"] = to_hex(fields.fmspc);
  out["sgx_type"] = fields.sgx_type < 3 ? kTypes[fields.sgx_type] : std::to_string(fields.sgx_type);
  if (fields.platform_instance) out["platform_instance_id"] = to_hex(*fields.platform_instance);
  if (fields.has_configuration) {
    out["dynamic_platform"] = fields.dynamic_platform;
    out["cached_keys"] = fields.cached_keys;
    out["smt_enabled"] = fields.smt_enabled;
  }
  return out;
}

OrderedJson sev_extensions(ByteView der) {
  OrderedJson out;
  auto certificate = AmdCertificate::from_der(der);
  if (!certificate.ok()) {
    out["fault"] = certificate.error().message();
    return out;
  }
  const auto fields = amd_leaf_fields(*certificate);
  if (!fields.ok()) {
    out["fault"] = fields.error().message();
    return out;
  }
  out["product"] = fields->product;
  if (fields->fmc) out["fmc"] = *fields->fmc;
  out["boot_loader"] = fields->boot_loader;
  out["tee"] = fields->tee;
  out["snp"] = fields->snp;
  for (size_t i = 0; i < fields->spl4_to_7.size(); ++i) {
    if (fields->spl4_to_7[i]) out["spl" + std::to_string(i + 4)] = *fields->spl4_to_7[i];
  }
  out["microcode"] = fields->microcode;
  if (!fields->hwid.empty()) out["hwid"] = to_hex(fields->hwid);
  if (!fields->csp_id.empty()) out["csp_id"] = fields->csp_id;
  return out;
}

bool has_extension(const X509* x509, const char* oid) {
  const auto content = x509_extension(x509, oid);
  return content.ok() || content.error().code() != Code::NotFound;
}

OrderedJson certificate_fields(X509* x509, ByteView der) {
  OrderedJson out;
  out["subject"] = name_text(X509_get_subject_name(x509));
  out["issuer"] = name_text(X509_get_issuer_name(x509));
  out["serial"] = serial_text(X509_get0_serialNumber(x509));
  out["not_before"] = time_text(X509_get0_notBefore(x509));
  out["not_after"] = time_text(X509_get0_notAfter(x509));
  out["signature_algorithm"] = algorithm_name(X509_get_signature_nid(x509));
  out["ca"] = (X509_get_extension_flags(x509) & EXFLAG_CA) != 0;
  out["public_key"] = public_key(x509);
  const auto sgx = x509_extension(x509, kSgxExtension);
  if (sgx.ok()) {
    const auto fields = parse_pck_extension(*sgx);
    out["sgx_extension"] =
        fields.ok() ? sgx_extension(*fields) : OrderedJson{{"fault", fields.error().message()}};
  }
  if (has_extension(x509, "1.3.6.1.4.1.3704.1.2")) out["sev_extensions"] = sev_extensions(der);
  out["sha256"] = to_hex(crypto::sha256(der));
  return out;
}

}  // namespace

Result<OrderedJson> inspect_certificates(ByteView input) {
  const std::vector<Bytes> ders = TRY(split_certificates(input));
  OrderedJson out = OrderedJson::array();
  for (const Bytes& der : ders) {
    const OwnedX509 x509 = TRY(decode_certificate(der));
    out.push_back(certificate_fields(x509.get(), der));
  }
  return out;
}

Result<OrderedJson> inspect_pck_extension(ByteView der) {
  return sgx_extension(TRY(parse_pck_extension(der)));
}

Result<OrderedJson> inspect_crl(ByteView bytes) {
  const Bytes der = TRY(crl_der(as_text(bytes)));
  const OwnedCrl crl = TRY(decode_crl(der));
  OrderedJson out;
  out["issuer"] = name_text(X509_CRL_get_issuer(crl.get()));
  out["this_update"] = time_text(X509_CRL_get0_lastUpdate(crl.get()));
  out["next_update"] = time_text(X509_CRL_get0_nextUpdate(crl.get()));
  out["signature_algorithm"] = algorithm_name(X509_CRL_get_signature_nid(crl.get()));
  const std::unique_ptr<ASN1_INTEGER, decltype(&ASN1_INTEGER_free)> number(
      static_cast<ASN1_INTEGER*>(X509_CRL_get_ext_d2i(crl.get(), NID_crl_number, nullptr, nullptr)),
      ASN1_INTEGER_free);
  if (number) out["number"] = serial_text(number.get());
  STACK_OF(X509_REVOKED)* entries = X509_CRL_get_REVOKED(crl.get());
  const int count = entries != nullptr ? sk_X509_REVOKED_num(entries) : 0;
  out["revoked_count"] = count;
  out["revoked"] = OrderedJson::array();
  for (int i = 0; i < count && i < kMaxEntries; ++i) {
    const X509_REVOKED* entry = sk_X509_REVOKED_value(entries, i);
    out["revoked"].push_back({{"serial", serial_text(X509_REVOKED_get0_serialNumber(entry))},
                              {"date", time_text(X509_REVOKED_get0_revocationDate(entry))}});
  }
  return out;
}

}  // namespace cloister::attestation
