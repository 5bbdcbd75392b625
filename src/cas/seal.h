// Values at rest: AES-256-GCM under the database key, bound to the row they belong to, so that nobody who
// holds the disk can read a value, change it, move it to another row or put a row's earlier value back under
// a newer version. Each value has its own key, derived from the database key and 16 random bytes: random
// nonces under one key would run out after some 2^32 values, which a busy service writes within days.
//
// Sealed value: salt 16 | nonce 12 | GCM tag 16 | ciphertext.
#pragma once

#include <string_view>

#include "base/secret.h"

namespace cloister::cas {

inline constexpr size_t kSealOverhead = 16 + 12 + 16;

struct RowIdentity {
  std::string_view table;
  std::string_view key;
  uint64_t version = 0;
};

// Thread-safe.
class Sealer {
 public:
  explicit Sealer(const Key256& database_key) : key_(database_key) {}

  Bytes seal(const RowIdentity& row, ByteView value) const;
  // Integrity when it is not what was sealed for this very row.
  Result<SecretBytes> open(const RowIdentity& row, ByteView sealed) const;

 private:
  Key256 derive(ByteView salt) const;
  Key256 key_;
};

}  // namespace cloister::cas
