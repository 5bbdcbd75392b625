// The key hierarchy. From the volume key come, by HKDF-SHA-256 with the volume id as salt and a label each,
// the metadata, tag and name keys and the key commitment. A block is sealed under a key derived from the
// metadata key (nodes) or the file's key (chunks) for one epoch, so that a counter nonce can never meet the
// same key twice: a crash, a restored copy or a second machine begins a new epoch with a new random salt.
#pragma once

#include "crypto/aes_gcm.h"
#include "volume/format.h"

namespace cloister::volume {

struct Keys {
  Key256 metadata;
  Key256 tag;
  Key256 names;  // for the hash of names: 16 bytes used
  ByteArray<32> commitment{};
};
Keys derive_keys(const Key& volume_key, const VolumeId& id);

Key256 derive_epoch_key(const Key256& parent, const Epoch& epoch, std::string_view label);
inline constexpr std::string_view kNodeLabel = "cloister volume node";
inline constexpr std::string_view kChunkLabel = "cloister volume chunk";

Tag compute_tag(const Keys& keys, const Superblock& superblock);
Root compute_root(const Superblock& superblock);

// A whole 4 KiB slot. `salt` must be random and used once.
void seal_superblock(const Keys& keys, const Superblock& superblock, const ByteArray<32>& salt,
                     uint8_t* block);
// Malformed: no superblock here. Unsupported. Denied: sealed under another volume key. Integrity: damaged.
struct OpenedSuperblock {
  Superblock superblock;
  Keys keys;
  Tag tag{};
};
Result<OpenedSuperblock> open_superblock(const Key& volume_key, ByteView block);
// Authenticated-only: parses; the caller compares compute_root().
Result<Superblock> parse_authenticated_superblock(ByteView block);

// SipHash-2-4 of a name, reduced to 1 … 2^63 - 1 so that it can be a directory cookie (an off_t).
// Source: Aumasson, Bernstein, "SipHash: a fast short-input PRF".
uint64_t hash_name(const Key256& key, std::string_view name);

}  // namespace cloister::volume
