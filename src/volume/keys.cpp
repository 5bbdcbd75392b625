#include "volume/keys.h"

#include <bit>

namespace cloister::volume {
namespace {

void derive(ByteView key, ByteView salt, std::string_view label, MutableByteView out) {
  crypto::hkdf_sha256(key, salt, as_bytes(label), out);
}

Key256 superblock_key(const Keys& keys, ByteView salt) {
  Key256 out;
  derive(keys.metadata.expose(), salt, "cloister volume superblock", out.expose());
  return out;
}

struct SipState {
  uint64_t a, b, c, d;
  void round() {
    a += b;
    c += d;
    b = std::rotl(b, 13) ^ a;
    d = std::rotl(d, 16) ^ c;
    a = std::rotl(a, 32);
    c += b;
    a += d;
    b = std::rotl(b, 17) ^ c;
    d = std::rotl(d, 21) ^ a;
    c = std::rotl(c, 32);
  }
  void word(uint64_t m) {
    d ^= m;
    round();
    round();
    a ^= m;
  }
};

}  // namespace

Keys derive_keys(const Key& volume_key, const VolumeId& id) {
  Keys keys;
  const ByteView key = volume_key.expose();
  derive(key, id, "cloister volume metadata", keys.metadata.expose());
  derive(key, id, "cloister volume tag", keys.tag.expose());
  derive(key, id, "cloister volume names", keys.names.expose());
  derive(key, id, "cloister volume commitment", keys.commitment);
  return keys;
}

Key256 derive_epoch_key(const Key256& parent, const Epoch& epoch, std::string_view label) {
  uint8_t info[64];
  CLOISTER_CHECK(label.size() + 8 <= sizeof(info));
  std::memcpy(info, label.data(), label.size());
  store_le(info + label.size(), epoch.id);
  Key256 out;
  crypto::hkdf_sha256(parent.expose(), epoch.salt, ByteView(info, label.size() + 8), out.expose());
  return out;
}

Tag compute_tag(const Keys& keys, const Superblock& superblock) {
  const SuperblockHead head = encode_head(superblock);
  const SuperblockBody body = encode_body(superblock);
  const crypto::Digest digest = crypto::hmac_sha256(keys.tag.expose(), {head, body});
  Tag tag;
  std::memcpy(tag.data(), digest.data(), tag.size());
  return tag;
}

Root compute_root(const Superblock& superblock) {
  const SuperblockHead head = encode_head(superblock);
  const SuperblockBody body = encode_body(superblock);
  return crypto::sha256({head, body});
}

void seal_superblock(const Keys& keys, const Superblock& superblock, const ByteArray<32>& salt,
                     uint8_t* block) {
  std::memset(block, 0, kBlockSize);
  const SuperblockHead head = encode_head(superblock);
  SuperblockBody body = encode_body(superblock);
  std::memcpy(block, head.data(), head.size());
  if (superblock.mode == Mode::Encrypted) {
    const crypto::Aes256Gcm cipher(superblock_key(keys, salt));
    crypto::GcmTag mac;
    cipher.seal(crypto::GcmNonce{}, head, body, body, mac);
    std::memcpy(block + kSaltOffset, salt.data(), salt.size());
    std::memcpy(block + kMacOffset, mac.data(), mac.size());
  }
  std::memcpy(block + kBodyOffset, body.data(), body.size());
}

Result<OpenedSuperblock> open_superblock(const Key& volume_key, ByteView block) {
  ByteReader in(block, "superblock");
  const ByteView head = TRY(in.take(kHeadSize));
  OpenedSuperblock out;
  out.superblock = TRY(decode_head(head));
  const ByteArray<32> salt = TRY(in.array<32>());
  const crypto::GcmTag mac = TRY(in.array<16>());
  SuperblockBody body = TRY(in.array<kBodySize>());
  if (out.superblock.mode != Mode::Encrypted) {
    return Error(Code::InvalidArgument,
                 "the volume is authenticated only: it is opened by its root, not by key and tag");
  }
  out.keys = derive_keys(volume_key, out.superblock.id);
  if (!equal_constant_time(out.keys.commitment, out.superblock.commitment)) {
    return Error(Code::Denied, "wrong volume key");
  }
  const crypto::Aes256Gcm cipher(superblock_key(out.keys, salt));
  if (!cipher.open(crypto::GcmNonce{}, head, body, mac, body)) {
    return Error(Code::Integrity, "Verification of the superblock failed");
  }
  TRY(decode_body(body, out.superblock));
  out.tag = compute_tag(out.keys, out.superblock);
  return out;
}

Result<Superblock> parse_authenticated_superblock(ByteView block) {
  ByteReader in(block, "superblock");
  const ByteView head = TRY(in.take(kHeadSize));
  Superblock out = TRY(decode_head(head));
  if (out.mode != Mode::AuthenticatedOnly) {
    return Error(Code::InvalidArgument,
                 "the volume is encrypted: it is opened by key and tag, not by a root");
  }
  TRY(in.take(kBodyOffset - kHeadSize));
  const ByteView body = TRY(in.take(kBodySize));
  TRY(decode_body(body, out));
  return out;
}

uint64_t hash_name(const Key256& key, std::string_view name) {
  const uint64_t k0 = load_le<uint64_t>(key.expose().data());
  const uint64_t k1 = load_le<uint64_t>(key.expose().data() + 8);
  SipState s{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261,
             k1 ^ 0x7465646279746573};
  const auto* p = reinterpret_cast<const uint8_t*>(name.data());
  size_t left = name.size();
  for (; left >= 8; left -= 8, p += 8) s.word(load_le<uint64_t>(p));
  uint64_t last = static_cast<uint64_t>(name.size()) << 56;
  for (size_t i = 0; i < left; ++i) last |= static_cast<uint64_t>(p[i]) << (8 * i);
  s.word(last);
  s.c ^= 0xff;
  for (int i = 0; i < 4; ++i) s.round();
  const uint64_t hash = (s.a ^ s.b ^ s.c ^ s.d) >> 1;
  return hash == 0 ? 1 : hash;
}

}  // namespace cloister::volume
