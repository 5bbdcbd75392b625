// libipsec-mb's one-shot GCM functions, chosen by what the CPU has. They are plain functions without libc, so
// the kernel links the same objects as the host; the library's job manager is never touched.
#include "crypto/aes_gcm.h"

#include <intel-ipsec-mb.h>

#include "crypto/cpu.h"
#include "crypto/vector_scope.h"

// The library has these but its header names only some of them. Its own aes_gcm_pre_256_* is the same two
// steps, but lies in one object with every key size and family, which would make the measured kernel four
// times as large.
extern "C" {
void aes_keyexp_256_enc_sse(const void*, void*);
void aes_keyexp_256_enc_avx2(const void*, void*);
void aes_gcm_precomp_256_sse(gcm_key_data*);
void aes_gcm_precomp_256_avx_gen4(gcm_key_data*);
void aes_gcm_precomp_256_vaes_avx512(gcm_key_data*);
void aes_gcm_enc_256_vaes_avx512(const gcm_key_data*, gcm_context_data*, uint8_t*, const uint8_t*, uint64_t,
                                 const uint8_t*, const uint8_t*, uint64_t, uint8_t*, uint64_t);
void aes_gcm_dec_256_vaes_avx512(const gcm_key_data*, gcm_context_data*, uint8_t*, const uint8_t*, uint64_t,
                                 const uint8_t*, const uint8_t*, uint64_t, uint8_t*, uint64_t);
}

namespace cloister::crypto {
namespace {

using ExpandKey = void (*)(const void*, void*);
using Precompute = void (*)(gcm_key_data*);
using Crypt = void (*)(const gcm_key_data*, gcm_context_data*, uint8_t*, const uint8_t*, uint64_t,
                       const uint8_t*, const uint8_t*, uint64_t, uint8_t*, uint64_t);

struct Functions {
  ExpandKey expand;
  Precompute precompute;
  Crypt encrypt;
  Crypt decrypt;
};

Functions choose() {
  switch (cpu_level()) {
    case CpuLevel::Vaes512:
      return {aes_keyexp_256_enc_avx2, aes_gcm_precomp_256_vaes_avx512, aes_gcm_enc_256_vaes_avx512,
              aes_gcm_dec_256_vaes_avx512};
    case CpuLevel::Avx2:
      return {aes_keyexp_256_enc_avx2, aes_gcm_precomp_256_avx_gen4, aes_gcm_enc_256_avx_gen4,
              aes_gcm_dec_256_avx_gen4};
    case CpuLevel::Sse:
      return {aes_keyexp_256_enc_sse, aes_gcm_precomp_256_sse, aes_gcm_enc_256_sse, aes_gcm_dec_256_sse};
    case CpuLevel::None:
      break;
  }
  panic(__FILE__, __LINE__, "this CPU has no AES instructions");
}

// An empty view may carry a null pointer; the assembler wants some address.
const uint8_t* address(ByteView view) {
  static const uint8_t nothing = 0;
  return view.empty() ? &nothing : view.data();
}

}  // namespace

struct Aes256Gcm::Expanded {
  alignas(64) gcm_key_data key;
};

Aes256Gcm::Aes256Gcm(const Key256& key) : expanded_(new Expanded) {
  const VectorScope scope;
  const Functions functions = choose();
  functions.expand(key.expose().data(), expanded_->key.expanded_keys);
  functions.precompute(&expanded_->key);
}

Aes256Gcm::~Aes256Gcm() {
  wipe(expanded_, sizeof(*expanded_));
  delete expanded_;
}

void Aes256Gcm::seal(const GcmNonce& nonce, ByteView aad, ByteView plain, MutableByteView out,
                     GcmTag& tag) const {
  CLOISTER_CHECK(out.size() >= plain.size());
  alignas(64) gcm_context_data context;
  uint8_t nothing = 0;
  {
    const VectorScope scope;
    choose().encrypt(&expanded_->key, &context, plain.empty() ? &nothing : out.data(), address(plain),
                     plain.size(), nonce.data(), address(aad), aad.size(), tag.data(), tag.size());
  }
  wipe(&context, sizeof(context));
}

bool Aes256Gcm::open(const GcmNonce& nonce, ByteView aad, ByteView cipher, const GcmTag& tag,
                     MutableByteView out) const {
  CLOISTER_CHECK(out.size() >= cipher.size());
  alignas(64) gcm_context_data context;
  GcmTag computed;
  uint8_t nothing = 0;
  {
    const VectorScope scope;
    choose().decrypt(&expanded_->key, &context, cipher.empty() ? &nothing : out.data(), address(cipher),
                     cipher.size(), nonce.data(), address(aad), aad.size(), computed.data(), computed.size());
  }
  wipe(&context, sizeof(context));
  if (equal_constant_time(computed, tag)) return true;
  if (!cipher.empty()) wipe(out.data(), cipher.size());
  return false;
}

}  // namespace cloister::crypto
