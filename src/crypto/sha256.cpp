// The padding and chaining are here; the block function is libcrypto's (SHA-NI where the CPU has it). On the
// host it is reached through SHA256_Transform's family, in the kernel directly: that one object of
// libcrypto.a needs no libc.
#include "crypto/sha256.h"

#include <algorithm>

#include "crypto/vector_scope.h"

#ifdef CLOISTER_KERNEL
extern "C" void sha256_block_data_order(void* state, const void* data, size_t blocks);
#else
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
#endif

namespace cloister::crypto {
namespace {

constexpr size_t kBlock = 64;

#ifdef CLOISTER_KERNEL
void blocks(uint32_t* state, const uint8_t* data, size_t count) {
  const VectorScope scope;
  sha256_block_data_order(state, data, count);
}
#else
// SHA256_Update on a context with nothing buffered runs whole blocks straight through the block function.
void blocks(uint32_t* state, const uint8_t* data, size_t count) {
  SHA256_CTX context;
  std::memset(&context, 0, sizeof(context));
  context.md_len = SHA256_DIGEST_LENGTH;
  for (int i = 0; i < 8; ++i) context.h[i] = state[i];
  SHA256_Update(&context, data, count * kBlock);
  for (int i = 0; i < 8; ++i) state[i] = context.h[i];
}
#endif

}  // namespace

Sha256::Sha256()
    : state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19} {
}

Sha256& Sha256::update(ByteView data) {
  if (data.empty()) return *this;
  const size_t buffered = length_ % kBlock;
  length_ += data.size();
  if (buffered != 0) {
    const size_t take = std::min(kBlock - buffered, data.size());
    std::memcpy(block_ + buffered, data.data(), take);
    data = data.subspan(take);
    if (buffered + take < kBlock) return *this;
    blocks(state_, block_, 1);
  }
  const size_t whole = data.size() / kBlock;
  if (whole != 0) blocks(state_, data.data(), whole);
  const ByteView rest = data.subspan(whole * kBlock);
  if (!rest.empty()) std::memcpy(block_, rest.data(), rest.size());
  return *this;
}

Digest Sha256::finish() {
  const uint64_t bits = length_ * 8;
  const size_t used = length_ % kBlock;
  uint8_t tail[2 * kBlock] = {};
  std::memcpy(tail, block_, used);
  tail[used] = 0x80;
  const size_t size = used + 9 <= kBlock ? kBlock : 2 * kBlock;
  store_be(tail + size - 8, bits);
  blocks(state_, tail, size / kBlock);
  wipe(tail, sizeof(tail));
  Digest digest;
  for (size_t i = 0; i < 8; ++i) store_be(digest.data() + 4 * i, state_[i]);
  return digest;
}

Digest sha256(ByteView data) { return sha256({data}); }

Digest sha256(std::initializer_list<ByteView> parts) {
  Sha256 hash;
  for (const ByteView part : parts) hash.update(part);
  return hash.finish();
}

Digest hmac_sha256(ByteView key, std::initializer_list<ByteView> parts) {
  uint8_t pad[kBlock] = {};
  if (key.size() > kBlock) {
    const Digest hashed = sha256(key);
    std::memcpy(pad, hashed.data(), hashed.size());
  } else if (!key.empty()) {
    std::memcpy(pad, key.data(), key.size());
  }
  for (uint8_t& byte : pad) byte ^= 0x36;
  Sha256 inner;
  inner.update(pad);
  for (const ByteView part : parts) inner.update(part);
  const Digest inside = inner.finish();
  for (uint8_t& byte : pad) byte ^= 0x36 ^ 0x5c;
  Sha256 outer;
  outer.update(pad).update(inside);
  wipe(pad, sizeof(pad));
  return outer.finish();
}

void hkdf_sha256(ByteView key, ByteView salt, ByteView info, MutableByteView out) {
  CLOISTER_CHECK(out.size() <= 255 * sizeof(Digest));
  Digest extracted = hmac_sha256(salt, {key});
  Digest block{};
  uint8_t counter = 1;
  for (size_t done = 0; done < out.size(); ++counter) {
    const ByteView previous = counter == 1 ? ByteView() : ByteView(block);
    block = hmac_sha256(extracted, {previous, info, ByteView(&counter, 1)});
    const size_t take = std::min(block.size(), out.size() - done);
    std::memcpy(out.data() + done, block.data(), take);
    done += take;
  }
  wipe(extracted.data(), extracted.size());
  wipe(block.data(), block.size());
}

}  // namespace cloister::crypto
