#include "cas/seal.h"

#include <algorithm>

#include "crypto/aes_gcm.h"
#include "crypto/random.h"
#include "crypto/sha256.h"

namespace cloister::cas {
namespace {

constexpr std::string_view kLabel = "cloister-cas-row-v1";
constexpr size_t kSaltSize = 16;

Bytes associated_data(const RowIdentity& row) {
  ByteWriter out;
  out.field(row.table).field(row.key).le(row.version);
  return out.take();
}

}  // namespace

Key256 Sealer::derive(ByteView salt) const {
  return Key256(crypto::hmac_sha256(key_.expose(), {as_bytes(kLabel), salt}));
}

Bytes Sealer::seal(const RowIdentity& row, ByteView value) const {
  Bytes out(kSealOverhead + value.size());
  const MutableByteView all(out);
  crypto::random_bytes(all.first(kSaltSize + crypto::kGcmNonceSize));
  crypto::GcmNonce nonce;
  std::copy_n(all.begin() + kSaltSize, nonce.size(), nonce.begin());
  crypto::GcmTag tag;
  const crypto::Aes256Gcm gcm(derive(all.first(kSaltSize)));
  gcm.seal(nonce, associated_data(row), value, all.subspan(kSealOverhead), tag);
  std::copy(tag.begin(), tag.end(), all.begin() + kSaltSize + crypto::kGcmNonceSize);
  return out;
}

Result<SecretBytes> Sealer::open(const RowIdentity& row, ByteView sealed) const {
  const Error damaged(Code::Integrity, "the database is damaged or was changed: " + std::string(row.table) +
                                           " `" + std::string(row.key) + "` is not what was stored there");
  if (sealed.size() < kSealOverhead) return Error(damaged);
  ByteReader in(sealed, "sealed value");
  const ByteView salt = TRY(in.take(kSaltSize));
  const crypto::GcmNonce nonce = TRY(in.array<crypto::kGcmNonceSize>());
  const crypto::GcmTag tag = TRY(in.array<crypto::kGcmTagSize>());
  Bytes plain(in.remaining());
  const crypto::Aes256Gcm gcm(derive(salt));
  if (gcm.open(nonce, associated_data(row), in.rest(), tag, plain)) return SecretBytes(std::move(plain));
  return Error(damaged);
}

}  // namespace cloister::cas
