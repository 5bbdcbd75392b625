// P-256 keys: the only asymmetric keys that Cloister makes (instance, service, client, simulated platform
// keys). Signatures are ECDSA with SHA-256 (FIPS 186-4), as DER (X.509, TLS) or as r||s of 64 bytes (quotes,
// JWS). A key's identity everywhere in Cloister is the SHA-256 of its SubjectPublicKeyInfo in DER.
#pragma once

#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/secret.h"
#include "crypto/sha256.h"

struct evp_pkey_st;  // OpenSSL's EVP_PKEY

namespace cloister::crypto {

using RawSignature = ByteArray<64>;  // r || s, big-endian
using RawPublicKey = ByteArray<64>;  // x || y, big-endian

// Thread-safe once made; copies share the key.
class PublicKey {
 public:
  // Malformed unless it is a P-256 key (named curve) whose point is on the curve.
  static Result<PublicKey> from_spki_der(ByteView der);
  static Result<PublicKey> from_raw(const RawPublicKey& point);

  bool verify_raw(ByteView message, const RawSignature& signature) const;
  bool verify_der(ByteView message, ByteView signature) const;

  const Bytes& spki_der() const { return spki_; }
  const Digest& spki_sha256() const { return hash_; }
  RawPublicKey raw() const;
  std::string spki_pem() const;  // "PUBLIC KEY"
  evp_pkey_st* native() const { return key_.get(); }

 private:
  friend class KeyPair;
  friend class Certificate;
  static Result<PublicKey> from_native(std::shared_ptr<evp_pkey_st> key);

  std::shared_ptr<evp_pkey_st> key_;
  Bytes spki_;
  Digest hash_{};
};

// Thread-safe once made; copies share the key, which is wiped with the last of them.
class KeyPair {
 public:
  static Result<KeyPair> generate();
  // Unencrypted PKCS#8 ("PRIVATE KEY") or SEC1 ("EC PRIVATE KEY"). Malformed for anything else or another
  // curve.
  static Result<KeyPair> from_pem(ByteView pem);
  Result<SecretBytes> to_pkcs8_pem() const;

  Result<RawSignature> sign_raw(ByteView message) const;
  Result<Bytes> sign_der(ByteView message) const;

  const PublicKey& public_key() const { return public_; }
  const Bytes& spki_der() const { return public_.spki_der(); }
  const Digest& spki_sha256() const { return public_.spki_sha256(); }
  evp_pkey_st* native() const { return public_.native(); }

 private:
  explicit KeyPair(PublicKey key) : public_(std::move(key)) {}
  PublicKey public_;  // OpenSSL keeps both halves in one object
};

// SHA-256 of any SubjectPublicKeyInfo, also of other algorithms' keys.
inline Digest spki_hash(ByteView spki_der) { return sha256(spki_der); }

}  // namespace cloister::crypto
