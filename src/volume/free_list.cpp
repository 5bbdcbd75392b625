#include "volume/free_list.h"

#include <algorithm>

namespace cloister::volume {
namespace {

constexpr size_t kSalt = 32;
constexpr size_t kHead = kSalt + sizeof(crypto::GcmTag);
constexpr size_t kEntry = 10;  // u48 start, u32 count
constexpr size_t kEntries = (kFreeListSize - kHead) / kEntry;
constexpr uint64_t kMostInARun = 0xffffffff;
using Plain = ByteArray<kFreeListSize - kHead>;

crypto::Aes256Gcm cipher_of(const Keys& keys, const ByteArray<kSalt>& salt) {
  Key256 key;
  crypto::hkdf_sha256(keys.metadata.expose(), salt, as_bytes("cloister volume free places"), key.expose());
  return crypto::Aes256Gcm(key);
}

}  // namespace

void seal_free_list(const Keys& keys, const Tag& tag, const ByteArray<32>& salt, std::vector<Extent> extents,
                    uint8_t* out) {
  const size_t count = std::min(extents.size(), kEntries);
  std::partial_sort(extents.begin(), extents.begin() + static_cast<ptrdiff_t>(count), extents.end(),
                    [](const Extent& a, const Extent& b) { return a.count > b.count; });
  Plain plain{};
  for (size_t i = 0; i < count; ++i) {
    uint8_t* entry = plain.data() + i * kEntry;
    uint8_t start[8];
    store_le(start, extents[i].start);
    std::memcpy(entry, start, 6);
    store_le(entry + 6, static_cast<uint32_t>(std::min(extents[i].count, kMostInARun)));
  }
  crypto::GcmTag mac;
  cipher_of(keys, salt).seal(crypto::GcmNonce{}, tag, plain, plain, mac);
  std::memcpy(out, salt.data(), kSalt);
  std::memcpy(out + kSalt, mac.data(), mac.size());
  std::memcpy(out + kHead, plain.data(), plain.size());
}

std::vector<Extent> open_free_list(const Keys& keys, const Tag& tag, ByteView in) {
  std::vector<Extent> out;
  if (in.size() != kFreeListSize) return out;
  ByteArray<kSalt> salt;
  crypto::GcmTag mac;
  Plain plain;
  std::memcpy(salt.data(), in.data(), kSalt);
  std::memcpy(mac.data(), in.data() + kSalt, mac.size());
  std::memcpy(plain.data(), in.data() + kHead, plain.size());
  if (!cipher_of(keys, salt).open(crypto::GcmNonce{}, tag, plain, mac, plain)) return out;
  for (size_t i = 0; i < kEntries; ++i) {
    const uint8_t* entry = plain.data() + i * kEntry;
    uint8_t start[8] = {};
    std::memcpy(start, entry, 6);
    const uint64_t count = load_le<uint32_t>(entry + 6);
    if (count == 0) break;
    out.push_back({load_le<uint64_t>(start), count});
  }
  return out;
}

}  // namespace cloister::volume
