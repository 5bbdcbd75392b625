#include "attestation/sim_issue.h"

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>

#include "crypto/encoding.h"
#include "crypto/openssl_error.h"
#include "crypto/random.h"

namespace cloister::attestation {
namespace {

constexpr const char* kSgxExtension = "1.2.840.113741.1.13.1";

struct Free {
  void operator()(X509_EXTENSION* p) const { X509_EXTENSION_free(p); }
  void operator()(X509_CRL* p) const { X509_CRL_free(p); }
  void operator()(X509_REVOKED* p) const { X509_REVOKED_free(p); }
  void operator()(ASN1_STRING* p) const { ASN1_STRING_free(p); }  // integers, times and octets too
  void operator()(ASN1_OBJECT* p) const { ASN1_OBJECT_free(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

Error failed(std::string_view what) { return crypto::openssl_error(Code::Internal, what); }

bool add_text_extension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Owned<X509_EXTENSION> extension(X509V3_EXT_nconf_nid(nullptr, &context, nid, value));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool add_sgx_extension(X509* certificate, const Bytes& content) {
  if (content.empty()) return true;
  const Owned<ASN1_OCTET_STRING> octets(ASN1_OCTET_STRING_new());
  const Owned<ASN1_OBJECT> oid(OBJ_txt2obj(kSgxExtension, 1));
  if (!octets || !oid ||
      ASN1_OCTET_STRING_set(octets.get(), content.data(), static_cast<int>(content.size())) != 1) {
    return false;
  }
  const Owned<X509_EXTENSION> extension(X509_EXTENSION_create_by_OBJ(nullptr, oid.get(), 0, octets.get()));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

Owned<ASN1_INTEGER> random_serial() {
  ByteArray<20> serial = crypto::random_array<20>();
  serial[0] = static_cast<uint8_t>((serial[0] & 0x7f) | 0x40);  // positive and of full length
  BIGNUM* number = BN_bin2bn(serial.data(), static_cast<int>(serial.size()), nullptr);
  Owned<ASN1_INTEGER> out(number != nullptr ? BN_to_ASN1_INTEGER(number, nullptr) : nullptr);
  BN_free(number);
  return out;
}

bool set_name(X509_NAME* name, const std::string& common_name) {
  const auto add = [&](int nid, const std::string& text) {
    return X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8, reinterpret_cast<const uint8_t*>(text.data()),
                                      static_cast<int>(text.size()), -1, 0) == 1;
  };
  // The common names are Intel's, because verifiers look at them; the organisation says what this is.
  return add(NID_organizationName, "Cloister simulation") && add(NID_commonName, common_name);
}

std::string constraints(const CertificateRequest& request) {
  if (!request.is_ca) return "critical,CA:FALSE";
  std::string text = "critical,CA:TRUE";
  if (request.path_length >= 0) text += ",pathlen:" + std::to_string(request.path_length);
  return text;
}

std::string pem_of(X509* certificate) {
  uint8_t* der = nullptr;
  const int size = i2d_X509(certificate, &der);
  CLOISTER_CHECK(size > 0);
  std::string pem = crypto::pem_encode("CERTIFICATE", ByteView(der, static_cast<size_t>(size)));
  OPENSSL_free(der);
  return pem;
}

// --- DER by hand: the SGX extension has no template in OpenSSL

Bytes tlv(uint8_t tag, ByteView content) {
  ByteWriter out;
  out.le(tag);
  CLOISTER_CHECK(content.size() <= UINT16_MAX);
  if (content.size() < 0x80) {  // the shortest form of the length is the only valid one
    out.le(static_cast<uint8_t>(content.size()));
  } else if (content.size() < 0x100) {
    out.le<uint8_t>(0x81).le(static_cast<uint8_t>(content.size()));
  } else {
    out.le<uint8_t>(0x82).be(static_cast<uint16_t>(content.size()));
  }
  out.bytes(content);
  return out.take();
}

Bytes integer(uint8_t tag, uint32_t value) {
  Bytes content;
  do {
    content.insert(content.begin(), static_cast<uint8_t>(value));
    value >>= 8;
  } while (value != 0);
  if ((content[0] & 0x80) != 0) content.insert(content.begin(), 0);
  return tlv(tag, content);
}

// SEQUENCE { OID 1.2.840.113741.1.13.1.<path>, value }
Bytes field(std::initializer_list<uint8_t> path, const Bytes& value) {
  Bytes oid = {0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01};
  oid.insert(oid.end(), path);
  Bytes content = tlv(0x06, oid);
  content.insert(content.end(), value.begin(), value.end());
  return tlv(0x30, content);
}

constexpr uint8_t kInteger = 0x02, kOctets = 0x04, kEnumerated = 0x0a, kBoolean = 0x01, kSequence = 0x30;

}  // namespace

Result<IssuedCertificate> issue_certificate(const CertificateRequest& request,
                                            const crypto::PublicKey& subject_key,
                                            const crypto::KeyPair& issuer_key,
                                            const IssuedCertificate* issuer) {
  OwnedX509 certificate(X509_new());
  const Owned<ASN1_INTEGER> serial = random_serial();
  if (!certificate || !serial) return failed("certificate");
  X509* x = certificate.get();
  X509* parent = issuer != nullptr ? issuer->handle.get() : x;
  const bool named = X509_set_version(x, X509_VERSION_3) == 1 &&
                     X509_set_serialNumber(x, serial.get()) == 1 &&
                     set_name(X509_get_subject_name(x), request.common_name) &&
                     X509_set_issuer_name(x, X509_get_subject_name(parent)) == 1 &&
                     ASN1_TIME_set_string(X509_getm_notBefore(x), request.not_before.c_str()) == 1 &&
                     ASN1_TIME_set_string(X509_getm_notAfter(x), request.not_after.c_str()) == 1 &&
                     X509_set_pubkey(x, subject_key.native()) == 1;
  const char* usage =
      request.is_ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature,nonRepudiation";
  if (!named || !add_text_extension(x, parent, NID_subject_key_identifier, "hash") ||
      !add_text_extension(x, parent, NID_authority_key_identifier, "keyid:always") ||
      !add_text_extension(x, parent, NID_key_usage, usage) ||
      !add_text_extension(x, parent, NID_basic_constraints, constraints(request).c_str()) ||
      !add_sgx_extension(x, request.sgx_extension) || X509_sign(x, issuer_key.native(), EVP_sha256()) <= 0) {
    return failed("cannot issue " + request.common_name);
  }
  return IssuedCertificate{std::move(certificate), pem_of(x)};
}

Result<IssuedCertificate> certificate_from_pem(std::string_view pem) {
  const std::vector<crypto::PemBlock> blocks = TRY(crypto::pem_decode(pem, 1));
  if (blocks.size() != 1 || blocks[0].label != "CERTIFICATE") {
    return Error(Code::Malformed, "not one certificate in PEM");
  }
  const uint8_t* at = blocks[0].content.data();
  OwnedX509 certificate(d2i_X509(nullptr, &at, static_cast<long>(blocks[0].content.size())));
  if (!certificate) return Error(Code::Malformed, "a certificate does not decode");
  return IssuedCertificate{std::move(certificate), std::string(pem)};
}

Bytes extension_of(const IssuedCertificate& certificate, const char* oid) {
  const Owned<ASN1_OBJECT> object(OBJ_txt2obj(oid, 1));
  const int index = X509_get_ext_by_OBJ(certificate.handle.get(), object.get(), -1);
  if (index < 0) return {};
  const ASN1_OCTET_STRING* octets = X509_EXTENSION_get_data(X509_get_ext(certificate.handle.get(), index));
  const uint8_t* data = ASN1_STRING_get0_data(octets);
  return Bytes(data, data + ASN1_STRING_length(octets));
}

bool has_key(const IssuedCertificate& certificate, const crypto::KeyPair& key) {
  return EVP_PKEY_eq(X509_get0_pubkey(certificate.handle.get()), key.native()) == 1;
}

Result<Bytes> issue_crl(const IssuedCertificate& issuer, const crypto::KeyPair& issuer_key, int64_t from,
                        int64_t to, const IssuedCertificate* revoked) {
  const Owned<X509_CRL> crl(X509_CRL_new());
  const Owned<ASN1_TIME> last(ASN1_TIME_set(nullptr, from)), next(ASN1_TIME_set(nullptr, to));
  if (!crl || !last || !next || X509_CRL_set_version(crl.get(), X509_CRL_VERSION_2) != 1 ||
      X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(issuer.handle.get())) != 1 ||
      X509_CRL_set1_lastUpdate(crl.get(), last.get()) != 1 ||
      X509_CRL_set1_nextUpdate(crl.get(), next.get()) != 1) {
    return failed("revocation list");
  }
  if (revoked != nullptr) {
    Owned<X509_REVOKED> entry(X509_REVOKED_new());
    if (!entry ||
        X509_REVOKED_set_serialNumber(entry.get(), X509_get_serialNumber(revoked->handle.get())) != 1 ||
        X509_REVOKED_set_revocationDate(entry.get(), last.get()) != 1 ||
        X509_CRL_add0_revoked(crl.get(), entry.get()) != 1) {
      return failed("revocation list");
    }
    static_cast<void>(entry.release());  // the list owns it now
  }
  const Owned<ASN1_INTEGER> number(ASN1_INTEGER_new());
  if (!number || ASN1_INTEGER_set_int64(number.get(), from) != 1 ||
      X509_CRL_add1_ext_i2d(crl.get(), NID_crl_number, number.get(), 0, X509V3_ADD_DEFAULT) != 1 ||
      X509_CRL_sort(crl.get()) != 1 || X509_CRL_sign(crl.get(), issuer_key.native(), EVP_sha256()) <= 0) {
    return failed("revocation list");
  }
  uint8_t* der = nullptr;
  const int size = i2d_X509_CRL(crl.get(), &der);
  if (size <= 0) return failed("revocation list");
  Bytes out(der, der + size);
  OPENSSL_free(der);
  return out;
}

// Intel SGX PCK Certificate and CRL profile, 1.3.5: fields in the order of the real certificates.
Bytes encode_sgx_extension(const SimPckFields& fields) {
  ByteWriter tcb;
  for (uint8_t i = 0; i < 16; ++i) {
    tcb.bytes(field({2, static_cast<uint8_t>(i + 1)}, integer(kInteger, fields.components[i])));
  }
  tcb.bytes(field({2, 17}, integer(kInteger, fields.pce_svn)));
  tcb.bytes(field({2, 18}, tlv(kOctets, fields.components)));
  const uint8_t no = 0, yes = 0xff;
  ByteWriter configuration;
  configuration.bytes(field({7, 1}, tlv(kBoolean, object_bytes(no))));
  configuration.bytes(field({7, 2}, tlv(kBoolean, object_bytes(no))));
  configuration.bytes(field({7, 3}, tlv(kBoolean, object_bytes(yes))));
  ByteWriter all;
  all.bytes(field({1}, tlv(kOctets, fields.ppid)));
  all.bytes(field({2}, tlv(kSequence, tcb.view())));
  all.bytes(field({3}, tlv(kOctets, fields.pce_id)));
  all.bytes(field({4}, tlv(kOctets, fields.fmspc)));
  all.bytes(field({5}, integer(kEnumerated, 1)));
  all.bytes(field({6}, tlv(kOctets, fields.platform_instance)));
  all.bytes(field({7}, tlv(kSequence, configuration.view())));
  return tlv(kSequence, all.view());
}

}  // namespace cloister::attestation
