#include "volume/anchor.h"

#include "crypto/sha256.h"
#include "volume/volume_impl.h"

namespace cloister::volume {
namespace {

constexpr std::string_view kMagic = "CLSTANC1";
constexpr uint64_t kSlotDistance = 4096;  // slots share no sector
constexpr size_t kSignedSize = 8 + 64 + 8 + 16;
constexpr size_t kSlotSize = kSignedSize + 32;

struct Slot {
  AnchorContext context;
  uint64_t sequence;
  Tag tag;
};

Result<Slot> read_slot(StorageFile& file, unsigned index, const Anchor::KeyFor& key_for) {
  ByteArray<kSlotSize> bytes;
  for (size_t done = 0; done < bytes.size();) {
    const size_t got = TRY(file.read_at(index * kSlotDistance + done, MutableByteView(bytes).subspan(done)));
    if (got == 0 || got > bytes.size() - done) return Error(Code::Malformed, "a short slot");
    done += got;
  }
  ByteReader reader(bytes, "anchor");
  if (as_text(TRY(reader.take(kMagic.size()))) != kMagic) return Error(Code::Malformed, "no anchor");
  Slot slot;
  slot.context = TRY(reader.array<64>());
  slot.sequence = TRY(reader.le<uint64_t>());
  slot.tag = TRY(reader.array<16>());
  const crypto::Digest mac = TRY(reader.array<32>());
  const Key key = TRY(key_for(slot.context));
  const ByteView covered = ByteView(bytes).first(kSignedSize);
  if (!equal_constant_time(crypto::hmac_sha256(key.expose(), {covered}), mac))
    return Error(Code::Integrity, "another key's");
  return slot;
}

}  // namespace

Result<std::unique_ptr<Anchor>> Anchor::open(Storage& storage, const KeyFor& key_for) {
  std::unique_ptr<StorageFile> file = TRY(storage.open(kAnchorName, OpenMode::ReadWrite));
  std::unique_ptr<Anchor> best;
  for (unsigned index = 0; index < 2; ++index) {
    const Result<Slot> slot = read_slot(*file, index, key_for);
    if (!slot.ok() && slot.error().code() == Code::Unavailable) return Error(slot.error());
    if (!slot.ok() || (best != nullptr && best->sequence_ >= slot->sequence)) continue;
    const Key key = TRY(key_for(slot->context));
    best.reset(new Anchor(nullptr, slot->context, key));
    best->sequence_ = slot->sequence;
    best->tag_ = slot->tag;
  }
  if (best == nullptr)
    return Error(Code::Integrity, "the anchor is damaged, or of another enclave, signer or machine");
  best->file_ = std::move(file);
  return best;
}

Result<std::unique_ptr<Anchor>> Anchor::create(Storage& storage, const AnchorContext& context,
                                               const Key& key) {
  std::unique_ptr<StorageFile> file = TRY(storage.open(kAnchorName, OpenMode::CreateNew));
  std::unique_ptr<Anchor> anchor(new Anchor(std::move(file), context, key));
  TRY(anchor->write(0, Tag{}));
  TRY(storage.sync_names());
  return anchor;
}

Result<void> Anchor::advance(const Tag& tag) {
  TRY(write(sequence_ + 1, tag));
  ++sequence_;
  tag_ = tag;
  return {};
}

Result<void> Anchor::write(uint64_t sequence, const Tag& tag) {
  ByteWriter out;
  out.text(kMagic).bytes(context_).le(sequence).bytes(tag);
  const crypto::Digest mac = crypto::hmac_sha256(key_.expose(), {out.view()});
  out.bytes(mac);
  TRY(file_->write_at(sequence % 2 * kSlotDistance, out.view()));
  return file_->sync();
}

namespace {

Result<Anchored> make_anchored(Storage& place, std::unique_ptr<Anchor> anchor, const Key& key,
                               Timestamp now) {
  TRY(place.remove(kMainName));  // of a start that named no state
  CreateOptions options;
  options.now = now;
  Anchored out;
  out.anchor = std::move(anchor);
  out.volume = TRY(Volume::create(place, key, options));
  TRY(out.anchor->advance(out.volume->tag()));
  return out;
}

}  // namespace

Result<Anchored> open_anchored(Storage& place, Storage& anchor_place, const AnchorContext& fresh,
                               const std::function<Result<AnchoredKeys>(const AnchorContext&)>& keys_for,
                               Timestamp now) {
  constexpr std::string_view kOwner = "a sealed volume";
  TRY(place.lock_for_writing(kOwner));
  TRY(anchor_place.lock_for_writing(kOwner));
  const auto anchor_key = [&](const AnchorContext& context) -> Result<Key> {
    const AnchoredKeys keys = TRY(keys_for(context));
    return keys.anchor;
  };
  Result<std::unique_ptr<Anchor>> anchor = Anchor::open(anchor_place, anchor_key);
  if (anchor.ok()) {
    const AnchoredKeys keys = TRY(keys_for((*anchor)->context()));
    if (!(*anchor)->names_a_state()) return make_anchored(place, std::move(*anchor), keys.volume, now);
    OpenOptions options;
    options.owner = kOwner;
    Result<std::unique_ptr<Volume>> volume = Volume::open(place, keys.volume, (*anchor)->tag(), options);
    if (volume.ok()) return Anchored{std::move(*anchor), std::move(*volume)};
    const bool absent = volume.error().code() == Code::NotFound;
    return absent ? Error(Code::Integrity, volume.error().message()) : std::move(volume).error();
  }
  const Code code = anchor.error().code();
  if (code != Code::NotFound && code != Code::Integrity) return std::move(anchor).error();
  const Result<std::unique_ptr<StorageFile>> main = place.open(kMainName, OpenMode::Read);
  if (main.ok()) {
    return Error(Code::Integrity,
                 code == Code::NotFound
                     ? "its anchor is missing: nobody can tell whether this is its newest state"
                     : anchor.error().message());
  }
  if (main.error().code() != Code::NotFound) return Error(main.error());
  TRY(anchor_place.remove(kAnchorName));
  const AnchoredKeys keys = TRY(keys_for(fresh));
  std::unique_ptr<Anchor> made = TRY(Anchor::create(anchor_place, fresh, keys.anchor));
  return make_anchored(place, std::move(made), keys.volume, now);
}

}  // namespace cloister::volume
