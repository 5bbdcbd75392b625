#include "crypto/keypair.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "crypto/encoding.h"
#include "crypto/openssl_error.h"

namespace cloister::crypto {
namespace {

struct Free {
  void operator()(EVP_PKEY_CTX* p) const { EVP_PKEY_CTX_free(p); }
  void operator()(EVP_MD_CTX* p) const { EVP_MD_CTX_free(p); }
  void operator()(ECDSA_SIG* p) const { ECDSA_SIG_free(p); }
  void operator()(BIO* p) const { BIO_free(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

std::shared_ptr<EVP_PKEY> own(EVP_PKEY* key) { return {key, EVP_PKEY_free}; }

Result<Bytes> raw_to_der(const RawSignature& raw) {
  const Owned<ECDSA_SIG> signature(ECDSA_SIG_new());
  BIGNUM* r = BN_bin2bn(raw.data(), 32, nullptr);
  BIGNUM* s = BN_bin2bn(raw.data() + 32, 32, nullptr);
  if (!signature || r == nullptr || s == nullptr || ECDSA_SIG_set0(signature.get(), r, s) != 1) {
    BN_free(r);
    BN_free(s);
    return openssl_error(Code::Internal, "ECDSA signature");
  }
  uint8_t* out = nullptr;
  const int size = i2d_ECDSA_SIG(signature.get(), &out);
  if (size <= 0) return openssl_error(Code::Internal, "ECDSA signature");
  Bytes der(out, out + size);
  OPENSSL_free(out);
  return der;
}

Result<RawSignature> der_to_raw(ByteView der) {
  const uint8_t* cursor = der.data();
  const Owned<ECDSA_SIG> signature(d2i_ECDSA_SIG(nullptr, &cursor, static_cast<long>(der.size())));
  if (!signature) return openssl_error(Code::Malformed, "ECDSA signature");
  RawSignature raw;
  if (BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), raw.data(), 32) != 32 ||
      BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), raw.data() + 32, 32) != 32) {
    return openssl_error(Code::Malformed, "ECDSA signature");
  }
  return raw;
}

}  // namespace

Result<PublicKey> PublicKey::from_native(std::shared_ptr<EVP_PKEY> key) {
  char group[64] = {};
  if (EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_EC ||
      EVP_PKEY_get_group_name(key.get(), group, sizeof(group), nullptr) != 1 ||
      std::string_view(group) != SN_X9_62_prime256v1) {
    clear_openssl_errors();
    return Error(Code::Malformed, "the key is not an ECDSA P-256 key");
  }
  PublicKey result;
  uint8_t* out = nullptr;
  const int size = i2d_PUBKEY(key.get(), &out);
  if (size <= 0) return openssl_error(Code::Malformed, "public key");
  result.spki_.assign(out, out + size);
  OPENSSL_free(out);
  result.hash_ = sha256(result.spki_);
  result.key_ = std::move(key);
  return result;
}

Result<PublicKey> PublicKey::from_spki_der(ByteView der) {
  const uint8_t* cursor = der.data();
  EVP_PKEY* key = d2i_PUBKEY(nullptr, &cursor, static_cast<long>(der.size()));
  if (key == nullptr) return openssl_error(Code::Malformed, "public key");
  PublicKey result = TRY(from_native(own(key)));
  // One key, one encoding: a compressed point or trailing bytes would give the same key a second identity.
  if (!std::ranges::equal(result.spki_, der))
    return Error(Code::Malformed, "public key: not in canonical DER");
  return result;
}

Result<PublicKey> PublicKey::from_raw(const RawPublicKey& point) {
  // SubjectPublicKeyInfo of a P-256 key is a constant prefix and the uncompressed point (RFC 5480).
  static constexpr uint8_t kPrefix[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
                                        0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                        0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04};
  ByteWriter der;
  der.bytes(kPrefix).bytes(point);
  return from_spki_der(der.view());
}

RawPublicKey PublicKey::raw() const {
  RawPublicKey point;
  CLOISTER_CHECK(spki_.size() == 91);
  std::memcpy(point.data(), spki_.data() + 27, point.size());
  return point;
}

std::string PublicKey::spki_pem() const { return pem_encode("PUBLIC KEY", spki_); }

bool PublicKey::verify_raw(ByteView message, const RawSignature& signature) const {
  const Result<Bytes> der = raw_to_der(signature);
  return der.ok() && verify_der(message, *der);
}

bool PublicKey::verify_der(ByteView message, ByteView signature) const {
  const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
  const bool good =
      context && EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()) == 1 &&
      EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(), message.size()) ==
          1;
  if (!good) clear_openssl_errors();
  return good;
}

Result<KeyPair> KeyPair::generate() {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  if (key == nullptr) return openssl_error(Code::Internal, "cannot make a P-256 key");
  return KeyPair(TRY(PublicKey::from_native(own(key))));
}

Result<KeyPair> KeyPair::from_pem(ByteView pem) {
  if (pem.size() > (64u << 10)) return Error(Code::Malformed, "private key: too long");
  const Owned<BIO> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (!bio) return openssl_error(Code::Internal, "private key");
  // The callback refuses encrypted keys; without it OpenSSL would ask at the terminal.
  const auto no_password = [](char*, int, int, void*) { return -1; };
  EVP_PKEY* key = PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr);
  if (key == nullptr) return openssl_error(Code::Malformed, "private key");
  return KeyPair(TRY(PublicKey::from_native(own(key))));
}

Result<SecretBytes> KeyPair::to_pkcs8_pem() const {
  const Owned<BIO> bio(BIO_new(BIO_s_secmem()));
  if (!bio ||
      PEM_write_bio_PKCS8PrivateKey(bio.get(), native(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return openssl_error(Code::Internal, "private key");
  }
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  const auto* begin = reinterpret_cast<const uint8_t*>(data);
  return SecretBytes(Bytes(begin, begin + size));
}

Result<Bytes> KeyPair::sign_der(ByteView message) const {
  const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
  uint8_t signature[80];  // at most 72 for P-256
  size_t size = sizeof(signature);
  if (!context || EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, native()) != 1 ||
      EVP_DigestSign(context.get(), signature, &size, message.data(), message.size()) != 1) {
    return openssl_error(Code::Internal, "cannot sign");
  }
  return Bytes(signature, signature + size);
}

Result<RawSignature> KeyPair::sign_raw(ByteView message) const {
  const Bytes der = TRY(sign_der(message));
  return der_to_raw(der);
}

}  // namespace cloister::crypto
