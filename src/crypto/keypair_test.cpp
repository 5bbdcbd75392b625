#include "crypto/keypair.h"

#include <gtest/gtest.h>

#include "crypto/certificate.h"

namespace cloister::crypto {
namespace {

// RFC 6979, A.2.5: P-256, SHA-256, message "sample".
constexpr char kRfcPublic[] =
    "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
    "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299";
constexpr char kRfcSignature[] =
    "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
    "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8";

TEST(PublicKey, VerifiesTheRfcSignature) {
  const PublicKey key = PublicKey::from_raw(array_from_hex<64>(kRfcPublic).value()).value();
  RawSignature signature = array_from_hex<64>(kRfcSignature).value();
  EXPECT_TRUE(key.verify_raw(as_bytes("sample"), signature));
  EXPECT_FALSE(key.verify_raw(as_bytes("samplf"), signature));
  signature[63] ^= 1;
  EXPECT_FALSE(key.verify_raw(as_bytes("sample"), signature));
  EXPECT_FALSE(key.verify_raw(as_bytes("sample"), RawSignature{}));
}

TEST(PublicKey, RefusesAPointOffTheCurveAndOtherEncodings) {
  RawPublicKey point = array_from_hex<64>(kRfcPublic).value();
  const PublicKey key = PublicKey::from_raw(point).value();
  EXPECT_EQ(key.raw(), point);
  EXPECT_EQ(key.spki_sha256(), sha256(key.spki_der()));
  Bytes longer = key.spki_der();
  longer.push_back(0);
  EXPECT_FALSE(PublicKey::from_spki_der(longer).ok());
  EXPECT_FALSE(PublicKey::from_spki_der({}).ok());
  point[63] ^= 1;
  EXPECT_FALSE(PublicKey::from_raw(point).ok());
  EXPECT_FALSE(PublicKey::from_raw(RawPublicKey{}).ok());
}

TEST(KeyPair, SignsWhatItsPublicKeyVerifies) {
  const KeyPair key = KeyPair::generate().value();
  const KeyPair other = KeyPair::generate().value();
  for (int i = 0; i < 20; ++i) {  // r or s with leading zeros come up sometimes
    const Bytes message(static_cast<size_t>(i), 7);
    EXPECT_TRUE(key.public_key().verify_raw(message, key.sign_raw(message).value()));
    EXPECT_TRUE(key.public_key().verify_der(message, key.sign_der(message).value()));
    EXPECT_FALSE(other.public_key().verify_raw(message, key.sign_raw(message).value()));
  }
}

TEST(KeyPair, KeepsItsIdentityThroughPem) {
  const KeyPair key = KeyPair::generate().value();
  const SecretBytes pem = key.to_pkcs8_pem().value();
  EXPECT_TRUE(as_text(pem.expose()).starts_with("-----BEGIN PRIVATE KEY-----"));
  EXPECT_EQ(KeyPair::from_pem(pem.expose()).value().spki_sha256(), key.spki_sha256());
}

TEST(KeyPair, RefusesOtherKeysAndText) {
  EXPECT_FALSE(KeyPair::from_pem(as_bytes("nothing")).ok());
  // An Ed25519 key, RFC 8410, section 10.3.
  constexpr char kEd25519[] =
      "-----BEGIN PRIVATE KEY-----\n"
      "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n"
      "-----END PRIVATE KEY-----\n";
  const Result<KeyPair> refused = KeyPair::from_pem(as_bytes(kEd25519));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message(), "the key is not an ECDSA P-256 key");
}

TEST(Certificate, CarriesTheKeyNamesAndDates) {
  const KeyPair key = KeyPair::generate().value();
  CertificateOptions options;
  options.common_name = "copy dapp";
  options.dns_names = {"localhost"};
  options.ip_addresses = {"127.0.0.1", "::1"};
  options.not_before = 1'700'000'000;
  options.not_after = 1'800'000'000;
  const Certificate certificate = Certificate::self_signed(key, options).value();
  const Certificate again = Certificate::from_pem(certificate.pem()).value();
  EXPECT_EQ(again.der(), certificate.der());
  EXPECT_EQ(again.spki_sha256(), key.spki_sha256());
  EXPECT_EQ(again.public_key().value().raw(), key.public_key().raw());
  EXPECT_EQ(again.subject(), "CN=copy dapp");
  EXPECT_EQ(again.not_before(), 1'700'000'000);
  EXPECT_EQ(again.not_after(), 1'800'000'000);
}

TEST(Certificate, RefusesBrokenInput) {
  const KeyPair key = KeyPair::generate().value();
  CertificateOptions options;
  options.ip_addresses = {"not an address"};
  EXPECT_FALSE(Certificate::self_signed(key, options).ok());
  options = {};
  options.common_name = std::string(65, 'x');
  EXPECT_FALSE(Certificate::self_signed(key, options).ok());
  Bytes der = Certificate::self_signed(key, {}).value().der();
  der.push_back(0);
  EXPECT_FALSE(Certificate::from_der(der).ok());
  der.resize(der.size() - 2);
  EXPECT_FALSE(Certificate::from_der(der).ok());
  EXPECT_FALSE(Certificate::from_pem("").ok());
}

}  // namespace
}  // namespace cloister::crypto
