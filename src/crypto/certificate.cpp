#include "crypto/certificate.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <ctime>

#include "crypto/encoding.h"
#include "crypto/openssl_error.h"
#include "crypto/random.h"

namespace cloister::crypto {
namespace {

constexpr size_t kMaxCertificateSize = 64u << 10;

struct Free {
  void operator()(GENERAL_NAMES* p) const { GENERAL_NAMES_free(p); }
  void operator()(BIO* p) const { BIO_free(p); }
  void operator()(X509_EXTENSION* p) const { X509_EXTENSION_free(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

bool add_extension(X509* certificate, int nid, const char* value) {
  const Owned<X509_EXTENSION> extension(X509V3_EXT_conf_nid(nullptr, nullptr, nid, value));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

// Built from objects, not from OpenSSL's "DNS:a,IP:b" text, so that a name cannot smuggle in another one.
bool add_names(X509* certificate, const CertificateOptions& options) {
  if (options.dns_names.empty() && options.ip_addresses.empty()) return true;
  const Owned<GENERAL_NAMES> names(GENERAL_NAMES_new());
  if (!names) return false;
  // Takes the value over, whatever happens.
  const auto push = [&](int type, ASN1_STRING* value) {
    GENERAL_NAME* name = value == nullptr ? nullptr : GENERAL_NAME_new();
    if (name == nullptr) {
      ASN1_STRING_free(value);
      return false;
    }
    GENERAL_NAME_set0_value(name, type, value);
    if (sk_GENERAL_NAME_push(names.get(), name) > 0) return true;
    GENERAL_NAME_free(name);
    return false;
  };
  for (const std::string& text : options.dns_names) {
    ASN1_IA5STRING* value = ASN1_IA5STRING_new();
    if (value != nullptr && ASN1_STRING_set(value, text.data(), static_cast<int>(text.size())) != 1) {
      ASN1_STRING_free(value);
      value = nullptr;
    }
    if (!push(GEN_DNS, value)) return false;
  }
  for (const std::string& text : options.ip_addresses) {
    if (!push(GEN_IPADD, a2i_IPADDRESS(text.c_str()))) return false;
  }
  return X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT) == 1;
}

bool set_times(X509* certificate, const CertificateOptions& options) {
  const time_t begin = options.not_before != 0 ? options.not_before : ::time(nullptr) - 600;
  if (ASN1_TIME_set(X509_getm_notBefore(certificate), begin) == nullptr) return false;
  if (options.not_after == 0) {
    return ASN1_TIME_set_string(X509_getm_notAfter(certificate), "99991231235959Z") == 1;
  }
  return ASN1_TIME_set(X509_getm_notAfter(certificate), options.not_after) != nullptr;
}

bool set_identity(X509* certificate, const CertificateOptions& options) {
  ByteArray<16> serial = random_array<16>();
  serial[0] = static_cast<uint8_t>((serial[0] & 0x7f) | 0x40);  // positive and of full length
  BIGNUM* number = BN_bin2bn(serial.data(), static_cast<int>(serial.size()), nullptr);
  const bool have_serial =
      number != nullptr && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nullptr;
  BN_free(number);
  X509_NAME* name = X509_get_subject_name(certificate);
  const auto* text = reinterpret_cast<const uint8_t*>(options.common_name.data());
  return have_serial && X509_set_version(certificate, X509_VERSION_3) == 1 &&
         X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, text,
                                    static_cast<int>(options.common_name.size()), -1, 0) == 1 &&
         X509_set_issuer_name(certificate, name) == 1;
}

int64_t seconds(const ASN1_TIME* time) {
  struct tm broken = {};
  if (ASN1_TIME_to_tm(time, &broken) != 1) return 0;
  return ::timegm(&broken);
}

}  // namespace

Result<Certificate> Certificate::self_signed(const KeyPair& key, const CertificateOptions& options) {
  if (options.common_name.empty() || options.common_name.size() > 64) {
    return Error(Code::InvalidArgument, "a certificate's common name has 1 to 64 bytes");
  }
  std::shared_ptr<X509> certificate(X509_new(), X509_free);
  if (!certificate || !set_identity(certificate.get(), options) || !set_times(certificate.get(), options) ||
      X509_set_pubkey(certificate.get(), key.native()) != 1 ||
      !add_extension(certificate.get(), NID_basic_constraints, "critical,CA:FALSE") ||
      !add_extension(certificate.get(), NID_key_usage, "critical,digitalSignature") ||
      !add_extension(certificate.get(), NID_ext_key_usage, "serverAuth,clientAuth") ||
      !add_names(certificate.get(), options) ||
      X509_sign(certificate.get(), key.native(), EVP_sha256()) <= 0) {
    return openssl_error(Code::InvalidArgument, "cannot make a certificate for " + options.common_name);
  }
  return from_native(std::move(certificate));
}

Result<Certificate> Certificate::from_native(std::shared_ptr<X509> certificate) {
  Certificate result;
  uint8_t* out = nullptr;
  int size = i2d_X509(certificate.get(), &out);
  if (size <= 0) return openssl_error(Code::Malformed, "certificate");
  result.der_.assign(out, out + size);
  OPENSSL_free(out);
  out = nullptr;
  size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate.get()), &out);
  if (size <= 0) return openssl_error(Code::Malformed, "certificate");
  result.spki_.assign(out, out + size);
  OPENSSL_free(out);
  result.spki_hash_ = sha256(result.spki_);
  result.certificate_ = std::move(certificate);
  return result;
}

Result<Certificate> Certificate::from_der(ByteView der) {
  if (der.size() > kMaxCertificateSize) return Error(Code::Malformed, "certificate: too long");
  const uint8_t* cursor = der.data();
  std::shared_ptr<X509> certificate(d2i_X509(nullptr, &cursor, static_cast<long>(der.size())), X509_free);
  if (!certificate) return openssl_error(Code::Malformed, "certificate");
  if (cursor != der.data() + der.size()) return Error(Code::Malformed, "certificate: bytes after its end");
  return from_native(std::move(certificate));
}

Result<Certificate> Certificate::from_pem(std::string_view pem) {
  if (pem.size() > 2 * kMaxCertificateSize) return Error(Code::Malformed, "certificate: too long");
  const std::vector<PemBlock> blocks = TRY(pem_decode(pem, 4));
  const PemBlock* found = nullptr;
  for (const PemBlock& block : blocks) {
    if (block.label != "CERTIFICATE") continue;
    if (found != nullptr) return Error(Code::Malformed, "certificate: more than one in the file");
    found = &block;
  }
  if (found == nullptr) return Error(Code::Malformed, "certificate: no CERTIFICATE block");
  return from_der(found->content);
}

std::string Certificate::pem() const { return pem_encode("CERTIFICATE", der_); }

Result<PublicKey> Certificate::public_key() const {
  EVP_PKEY* key = X509_get_pubkey(certificate_.get());
  if (key == nullptr) return openssl_error(Code::Malformed, "certificate: its key");
  return PublicKey::from_native({key, EVP_PKEY_free});
}

std::string Certificate::subject() const {
  const Owned<BIO> bio(BIO_new(BIO_s_mem()));
  if (!bio ||
      X509_NAME_print_ex(bio.get(), X509_get_subject_name(certificate_.get()), 0, XN_FLAG_RFC2253) < 0) {
    clear_openssl_errors();
    return {};
  }
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

int64_t Certificate::not_before() const { return seconds(X509_get0_notBefore(certificate_.get())); }
int64_t Certificate::not_after() const { return seconds(X509_get0_notAfter(certificate_.get())); }

}  // namespace cloister::crypto
