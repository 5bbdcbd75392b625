// An anchor's file from hostile bytes. The first byte says which slots are signed as if by the enclave, so
// that what follows the MAC is reached, too. What opens must go on: the next record is the newest afterwards.
#include "crypto/sha256.h"
#include "volume/anchor.h"
#include "volume/memory_storage.h"

using namespace cloister;
using namespace cloister::volume;

namespace {

constexpr size_t kSignedSize = 96;
constexpr size_t kSlotSize = 128;
constexpr size_t kSlotDistance = 4096;

Result<Key> key_for(const AnchorContext& context) {
  if (context[0] == 0xff) return Error(Code::Unsupported, "no such key");
  return Key(crypto::sha256({context}));
}

// Input: flags, then the slots; a short input is a short file.
Bytes anchor_file(ByteView input) {
  const uint8_t flags = input[0];
  input = input.subspan(1);
  Bytes file;
  for (size_t slot = 0; slot < 2 && slot * kSlotSize < input.size(); ++slot) {
    const ByteView bytes =
        input.subspan(slot * kSlotSize, std::min(kSlotSize, input.size() - slot * kSlotSize));
    file.resize(slot * kSlotDistance);
    file.insert(file.end(), bytes.begin(), bytes.end());
    if ((flags >> slot & 1) == 0 || bytes.size() < kSlotSize) continue;
    AnchorContext context;
    std::copy_n(bytes.begin() + 8, context.size(), context.begin());
    const Result<Key> key = key_for(context);
    if (!key.ok()) continue;
    const crypto::Digest mac = crypto::hmac_sha256(key->expose(), {bytes.first(kSignedSize)});
    std::copy(mac.begin(), mac.end(), file.end() - static_cast<long>(mac.size()));
  }
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  MemoryStorage storage(false);
  storage.restore({{std::string(kAnchorName), anchor_file({data, size})}});
  Result<std::unique_ptr<Anchor>> opened = Anchor::open(storage, key_for);
  if (!opened.ok()) {
    if (opened.error().code() != Code::Integrity) __builtin_trap();
    return 0;
  }
  const uint64_t sequence = (*opened)->sequence();
  if (sequence == ~uint64_t{0}) return 0;  // no enclave counts so far
  Tag tag{};
  tag.fill(0x77);
  if (!(*opened)->advance(tag).ok()) __builtin_trap();
  const Result<std::unique_ptr<Anchor>> again = Anchor::open(storage, key_for);
  if (!again.ok() || (*again)->sequence() != sequence + 1 || (*again)->tag() != tag) __builtin_trap();
  return 0;
}
