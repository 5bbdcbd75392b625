#include "sgx/sigstruct.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <algorithm>

#include "base/files.h"
#include "crypto/sha256.h"

namespace cloister::sgx {
namespace {

constexpr int kKeyBits = 3072;
constexpr size_t kKeySize = kKeyBits / 8;
constexpr uint8_t kHeader[16] = {6, 0, 0, 0, 0xe1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0};
constexpr uint8_t kHeader2[16] = {1, 1, 0, 0, 0x60, 0, 0, 0, 0x60, 0, 0, 0, 1, 0, 0, 0};

struct BnFree {
  void operator()(BIGNUM* n) const { BN_clear_free(n); }
  void operator()(BN_CTX* c) const { BN_CTX_free(c); }
};
using Bn = std::unique_ptr<BIGNUM, BnFree>;
using BnContext = std::unique_ptr<BN_CTX, BnFree>;

struct KeyFree {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
  void operator()(BIO* bio) const { BIO_free_all(bio); }
};
template <class T>
using Owned = std::unique_ptr<T, KeyFree>;

Error internal(std::string_view what) { return Error(Code::Internal, "SIGSTRUCT: " + std::string(what)); }
Error wrong(std::string_view what) { return Error(Code::Integrity, "SIGSTRUCT: " + std::string(what)); }

// The signature covers bytes [0,128) and [900,1028).
Bytes signed_bytes(const SigStruct& s) {
  const ByteView all = object_bytes(s);
  ByteWriter out;
  out.bytes(all.first(128)).bytes(all.subspan(900, 128));
  return out.take();
}

Bn from_le(const uint8_t* bytes) { return Bn(BN_lebin2bn(bytes, kKeySize, nullptr)); }

// What EINIT computes of a signature S and a modulus N (SDM, EINIT and SIGSTRUCT).
struct Cube {
  uint8_t q1[kKeySize];    // floor(S^2 / N)
  uint8_t q2[kKeySize];    // floor((S^3 - Q1*S*N) / N)
  uint8_t rest[kKeySize];  // S^3 mod N
};
Result<Cube> cube(const SigStruct& s) {
  const BnContext context(BN_CTX_new());
  const Bn signature = from_le(s.signature), modulus = from_le(s.modulus);
  const Bn square(BN_new()), q1(BN_new()), rest(BN_new()), product(BN_new()), q2(BN_new());
  if (!context || !signature || !modulus || !square || !q1 || !rest || !product || !q2)
    return internal("memory");
  if (BN_cmp(signature.get(), modulus.get()) >= 0) return wrong("the signature is not below the modulus");
  // S^3 - Q1*S*N = S*(S^2 - Q1*N) = S * (S^2 mod N)
  Cube out;
  if (BN_sqr(square.get(), signature.get(), context.get()) != 1 ||
      BN_div(q1.get(), rest.get(), square.get(), modulus.get(), context.get()) != 1 ||
      BN_mul(product.get(), rest.get(), signature.get(), context.get()) != 1 ||
      BN_div(q2.get(), rest.get(), product.get(), modulus.get(), context.get()) != 1 ||
      BN_bn2lebinpad(q1.get(), out.q1, kKeySize) < 0 || BN_bn2lebinpad(q2.get(), out.q2, kKeySize) < 0 ||
      BN_bn2lebinpad(rest.get(), out.rest, kKeySize) < 0) {
    return internal("arithmetic");
  }
  return out;
}

// EMSA-PKCS1-v1_5 (RFC 8017, 9.2) of the signed bytes with SHA-256, little-endian as all numbers here.
Bytes encoded_message(const SigStruct& s) {
  constexpr uint8_t kDigestInfo[] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                                     0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};
  const crypto::Digest digest = crypto::sha256(signed_bytes(s));
  Bytes out(kKeySize, 0xff);
  out[0] = 0;
  out[1] = 1;
  uint8_t* end = out.data() + kKeySize - digest.size();
  std::memcpy(end, digest.data(), digest.size());
  std::memcpy(end - sizeof(kDigestInfo), kDigestInfo, sizeof(kDigestInfo));
  end[-static_cast<ptrdiff_t>(sizeof(kDigestInfo)) - 1] = 0;
  std::reverse(out.begin(), out.end());
  return out;
}

Result<void> check_key(EVP_PKEY* key) {
  BIGNUM* exponent_raw = nullptr;
  const bool is_rsa = EVP_PKEY_is_a(key, "RSA") && EVP_PKEY_get_bits(key) == kKeyBits &&
                      EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &exponent_raw) == 1;
  const Bn exponent(exponent_raw);
  if (!is_rsa || !BN_is_word(exponent.get(), 3)) {
    return Error(Code::InvalidArgument, "the signing key is not RSA-3072 with public exponent 3",
                 "make one with: openssl genrsa -3 -out key.pem 3072");
  }
  return {};
}

}  // namespace

void SigningKey::End::operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }

Result<SigningKey> SigningKey::generate() {
  const Owned<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr));
  const Bn exponent(BN_new());
  EVP_PKEY* key = nullptr;
  if (!context || !exponent || BN_set_word(exponent.get(), 3) != 1 ||
      EVP_PKEY_keygen_init(context.get()) != 1 ||
      EVP_PKEY_CTX_set_rsa_keygen_bits(context.get(), kKeyBits) != 1 ||
      EVP_PKEY_CTX_set1_rsa_keygen_pubexp(context.get(), exponent.get()) != 1 ||
      EVP_PKEY_keygen(context.get(), &key) != 1) {
    return internal("cannot generate a key");
  }
  return SigningKey(Key(key));
}

Result<SigningKey> SigningKey::from_pem(const SecretBytes& pem) {
  const Owned<BIO> bio(BIO_new_mem_buf(pem.expose().data(), static_cast<int>(pem.expose().size())));
  EVP_PKEY* key = bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr) : nullptr;
  if (key == nullptr) return Error(Code::Malformed, "the signing key is not a PEM private key");
  Key owned(key);
  TRY(check_key(key));
  return SigningKey(std::move(owned));
}

Result<SecretBytes> SigningKey::to_pem() const {
  const Owned<BIO> bio(BIO_new(BIO_s_secmem()));
  if (!bio || PEM_write_bio_PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return internal("cannot write the key");
  }
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return SecretBytes(Bytes(data, data + size));
}

Result<SigningKey> SigningKey::load_or_create(const std::filesystem::path& file) {
  std::error_code error;
  // What cannot be looked at is read, which says why; only what is certainly absent is made.
  if (std::filesystem::status(file, error).type() != std::filesystem::file_type::not_found) {
    const SecretBytes pem = TRY(read_secret_file(file, 64 << 10));
    return from_pem(pem);
  }
  SigningKey key = TRY(generate());
  const SecretBytes pem = TRY(key.to_pem());
  if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path(), error);
  TRY(write_private_file(file, pem.expose()));
  return key;
}

Result<SigStruct> SigningKey::sign(const SigningParameters& p) const {
  SigStruct s{};
  std::memcpy(s.header, kHeader, sizeof(kHeader));
  std::memcpy(s.header2, kHeader2, sizeof(kHeader2));
  s.date = p.date_bcd;
  s.exponent = 3;
  s.misc_select = p.misc_select;
  s.misc_mask = p.misc_mask;
  s.attributes = p.attributes;
  s.attribute_mask = p.attribute_mask;
  std::memcpy(s.enclave_hash, p.mrenclave.data(), p.mrenclave.size());
  s.isv_prod_id = p.isv_prod_id;
  s.isv_svn = p.isv_svn;
  BIGNUM* modulus_raw = nullptr;
  if (EVP_PKEY_get_bn_param(key_.get(), OSSL_PKEY_PARAM_RSA_N, &modulus_raw) != 1)
    return internal("no modulus");
  const Bn modulus(modulus_raw);
  if (BN_bn2lebinpad(modulus.get(), s.modulus, kKeySize) < 0) return internal("modulus size");

  const Bytes message = signed_bytes(s);
  Bytes signature(kKeySize);
  size_t size = signature.size();
  const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
  if (!context || EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()) != 1 ||
      EVP_DigestSign(context.get(), signature.data(), &size, message.data(), message.size()) != 1 ||
      size != kKeySize) {
    return internal("cannot sign");
  }
  std::reverse_copy(signature.begin(), signature.end(), s.signature);
  const Cube numbers = TRY(cube(s));
  std::memcpy(s.q1, numbers.q1, kKeySize);
  std::memcpy(s.q2, numbers.q2, kKeySize);
  return s;
}

Result<SigStruct> parse_sigstruct(ByteView bytes) {
  if (bytes.size() != sizeof(SigStruct)) {
    return Error(Code::Malformed, "SIGSTRUCT has " + std::to_string(bytes.size()) + " bytes, not 1808");
  }
  SigStruct s;
  std::memcpy(&s, bytes.data(), sizeof(s));
  const bool debug_type = s.header[15] == 0x80;
  uint8_t header[16];
  std::memcpy(header, s.header, sizeof(header));
  if (debug_type) header[15] = 0;
  if (std::memcmp(header, kHeader, sizeof(kHeader)) != 0 ||
      std::memcmp(s.header2, kHeader2, sizeof(kHeader2)) != 0) {
    return Error(Code::Malformed, "SIGSTRUCT header constants are wrong");
  }
  if (s.exponent != 3) return Error(Code::Malformed, "SIGSTRUCT exponent is not 3");
  return s;
}

Result<void> verify_sigstruct(const SigStruct& s) {
  TRY(parse_sigstruct(object_bytes(s)));
  const auto zero = [](const auto& field) {
    return std::all_of(std::begin(field), std::end(field), [](uint8_t byte) { return byte == 0; });
  };
  if (!zero(s.reserved1) || !zero(s.reserved2) || !zero(s.reserved3) || !zero(s.reserved4)) {
    return wrong("reserved bytes are not zero");
  }
  const Cube numbers = TRY(cube(s));
  if (std::memcmp(numbers.rest, encoded_message(s).data(), kKeySize) != 0)
    return wrong("the signature does not verify");
  if (std::memcmp(numbers.q1, s.q1, kKeySize) != 0 || std::memcmp(numbers.q2, s.q2, kKeySize) != 0)
    return wrong("Q1 or Q2 is wrong");
  return {};
}

Measurement mrsigner_of(const SigStruct& s) { return crypto::sha256(ByteView(s.modulus, kKeySize)); }

}  // namespace cloister::sgx
