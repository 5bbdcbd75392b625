#include "cas/journal.h"

#include <algorithm>

namespace cloister::cas {
namespace {

constexpr std::string_view kLabel = "cloister-cas-journal-v1";
constexpr uint32_t kMaxText = 1u << 20;
constexpr uint32_t kMaxKey = 4096;
constexpr uint32_t kMaxRows = 8192;

bool is_readable(const JournalPayload& payload) {
  return payload.text.size() <= kMaxText && payload.rows.size() <= kMaxRows &&
         std::all_of(payload.rows.begin(), payload.rows.end(), [](const WrittenRow& row) {
           return row.table.size() <= kMaxKey && row.key.size() <= kMaxKey;
         });
}

}  // namespace

crypto::Digest link_hash(const JournalLink& link) {
  ByteWriter out;
  out.field(kLabel).le(link.sequence).bytes(link.previous).le(link.time);
  out.field(link.kind).field(link.subject).bytes(link.payload_hash);
  return crypto::sha256(out.view());
}

Result<Bytes> encode_payload(const JournalPayload& payload) {
  if (!is_readable(payload)) return Error(Code::Internal, "a journal entry is too large");
  ByteWriter out;
  out.field(payload.text).le(static_cast<uint32_t>(payload.rows.size()));
  for (const WrittenRow& row : payload.rows) {
    out.field(row.table).field(row.key).le(row.version).bytes(row.sealed_hash);
  }
  return out.take();
}

Result<JournalPayload> decode_payload(ByteView bytes) {
  ByteReader in(bytes, "journal entry");
  JournalPayload payload;
  payload.text = as_text(TRY(in.field(kMaxText)));
  const uint32_t count = TRY(in.le<uint32_t>());
  if (count > kMaxRows) return Error(Code::Malformed, "journal entry: too many rows");
  for (uint32_t i = 0; i < count; ++i) {
    WrittenRow row;
    row.table = as_text(TRY(in.field(kMaxKey)));
    row.key = as_text(TRY(in.field(kMaxKey)));
    row.version = TRY(in.le<uint64_t>());
    row.sealed_hash = TRY(in.array<32>());
    payload.rows.push_back(std::move(row));
  }
  TRY(in.expect_end());
  return payload;
}

}  // namespace cloister::cas
