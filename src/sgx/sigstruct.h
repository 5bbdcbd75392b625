// SIGSTRUCT: the publisher's RSA-3072 (e = 3) signature over an enclave's measurement and identity (SDM vol.
// 3D, 37.14). Q1 and Q2 are quotients that let the CPU verify without division.
#pragma once

#include <filesystem>
#include <memory>

#include "base/secret.h"
#include "sgx/structures.h"

struct evp_pkey_st;

namespace cloister::sgx {

struct SigningParameters {
  Measurement mrenclave{};
  Attributes attributes{kFlagMode64, kXfrmLegacy};
  Attributes attribute_mask{~uint64_t{0}, kXfrmLegacy};  // DEBUG is fixed; AVX is up to the CPU
  uint32_t misc_select = kMiscExInfo;
  uint32_t misc_mask = 0;
  uint16_t isv_prod_id = 0;
  uint16_t isv_svn = 0;
  uint32_t date_bcd = 0x20240101;  // fixed by default: an image is reproducible
};

// An RSA-3072 key with public exponent 3. PKCS#1 v1.5 is deterministic: one key and input, one SIGSTRUCT.
class SigningKey {
 public:
  static Result<SigningKey> generate();
  static Result<SigningKey> from_pem(
      const SecretBytes& pem);  // Malformed; InvalidArgument when not RSA-3072, e = 3
  // Reads the file, or makes it (mode 0600) when it does not exist.
  static Result<SigningKey> load_or_create(const std::filesystem::path& file);

  Result<SecretBytes> to_pem() const;
  Result<SigStruct> sign(const SigningParameters& parameters) const;

 private:
  struct End {
    void operator()(evp_pkey_st* key) const;
  };
  using Key = std::unique_ptr<evp_pkey_st, End>;
  explicit SigningKey(Key key) : key_(std::move(key)) {}
  Key key_;
};

// Constants, reserved fields, exponent, signature, Q1 and Q2. Integrity when any of them is wrong.
Result<void> verify_sigstruct(const SigStruct& sigstruct);
Measurement mrsigner_of(const SigStruct& sigstruct);  // SHA-256 of the modulus as stored
Result<SigStruct> parse_sigstruct(ByteView bytes);    // length and constants only

}  // namespace cloister::sgx
