#include "cas/sqlite_rows.h"

#include <algorithm>
#include <set>

namespace cloister::cas {
namespace {

constexpr const char* kSchema =
    "CREATE TABLE IF NOT EXISTS rows("
    "  tab TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, value BLOB NOT NULL,"
    "  PRIMARY KEY(tab, key));"
    "CREATE TABLE IF NOT EXISTS journal("
    "  sequence INTEGER PRIMARY KEY, previous BLOB NOT NULL, time INTEGER NOT NULL, kind TEXT NOT NULL,"
    "  subject TEXT NOT NULL, payload_hash BLOB NOT NULL, payload BLOB NOT NULL, signature BLOB NOT NULL);"
    "CREATE INDEX IF NOT EXISTS journal_told ON journal(subject, sequence)"
    "  WHERE kind<>'tags' AND kind<>'unproven';"
    "CREATE INDEX IF NOT EXISTS journal_tags ON journal(subject, sequence) WHERE kind='tags';"
    "CREATE INDEX IF NOT EXISTS journal_unproven ON journal(subject, sequence) WHERE kind='unproven';"
    "DROP INDEX IF EXISTS journal_events;";  // of earlier versions

// A run may publish thousands of tags, and a stranger may send as much that proves nothing. So many of either
// are shown: they must not hide the rest.
constexpr size_t kMaxOfMany = 100;

// Where the journal's end is written down once more: an entry that is missing at the end is then noticed.
constexpr std::string_view kMeta = "meta";
constexpr std::string_view kHead = "journal-head";

Error damaged(const std::string& what) {
  return Error(Code::Integrity, "the database is damaged or was changed: " + what,
               "restore the state folder from a backup; do not delete the journal");
}

template <size_t N>
Result<ByteArray<N>> fixed(ByteView bytes, const char* what) {
  if (bytes.size() != N) return damaged(what);
  ByteArray<N> out;
  std::copy(bytes.begin(), bytes.end(), out.begin());
  return out;
}

RowIdentity payload_identity(uint64_t sequence) { return {"journal", "", sequence}; }

}  // namespace

Result<SqliteRows> SqliteRows::open(const std::filesystem::path& path, bool read_only, const Sealer& sealer,
                                    const crypto::KeyPair& signer) {
  Database database = TRY(Database::open(path, read_only));
  if (!read_only) TRY(database.execute(kSchema));
  SqliteRows out(std::move(database), sealer, signer);
  TRY(out.prepare());
  return out;
}

Result<void> SqliteRows::prepare() {
  get_ = TRY(database_.prepare("SELECT version, value FROM rows WHERE tab=? AND key=?"));
  version_ = TRY(database_.prepare("SELECT version FROM rows WHERE tab=? AND key=?"));
  put_ = TRY(database_.prepare("INSERT OR REPLACE INTO rows(tab, key, version, value) VALUES(?, ?, ?, ?)"));
  erase_ = TRY(database_.prepare("DELETE FROM rows WHERE tab=? AND key=?"));
  append_ = TRY(
      database_.prepare("INSERT INTO journal(sequence, previous, time, kind, subject, payload_hash, payload,"
                        " signature) VALUES(?, ?, ?, ?, ?, ?, ?, ?)"));
  events_ = TRY(
      database_.prepare("SELECT sequence, time, kind, payload FROM journal WHERE subject=? AND kind<>'tags'"
                        " AND kind<>'unproven' ORDER BY sequence DESC LIMIT ?"));
  tags_ = TRY(
      database_.prepare("SELECT sequence, time, kind, payload FROM journal WHERE subject=? AND kind='tags'"
                        " ORDER BY sequence DESC LIMIT ?"));
  unproven_ =
      TRY(database_.prepare("SELECT sequence, time, kind, payload FROM journal WHERE subject=? AND"
                            " kind='unproven' ORDER BY sequence DESC LIMIT ?"));
  previous_ = TRY(database_.prepare("SELECT previous FROM journal WHERE sequence=?"));
  newest_ =
      TRY(database_.prepare("SELECT sequence, previous, time, kind, subject, payload_hash, payload, signature"
                            " FROM journal ORDER BY sequence DESC LIMIT ?"));
  return {};
}

Result<std::optional<SecretBytes>> SqliteRows::get(std::string_view table, std::string_view key) {
  get_.bind(1, table).bind(2, key);
  const bool found = TRY(get_.step());
  if (!found) {
    get_.reset();
    return std::optional<SecretBytes>();
  }
  const RowIdentity row{table, key, static_cast<uint64_t>(get_.integer(0))};
  Result<SecretBytes> value = sealer_.open(row, get_.blob(1));
  get_.reset();
  if (!value.ok()) return std::move(value).error();
  return std::optional<SecretBytes>(std::move(*value));
}

Result<uint64_t> SqliteRows::version_of(std::string_view table, std::string_view key) {
  version_.bind(1, table).bind(2, key);
  const bool found = TRY(version_.step());
  const uint64_t version = found ? static_cast<uint64_t>(version_.integer(0)) : 0;
  version_.reset();
  return version;
}

Result<WrittenRow> SqliteRows::write(std::string_view table, std::string_view key, const SecretBytes* value) {
  WrittenRow row{std::string(table), std::string(key), 0, {}};
  if (value == nullptr) {
    TRY(erase_.bind(1, table).bind(2, key).run());
    return row;
  }
  row.version = TRY(version_of(table, key)) + 1;
  const Bytes sealed = sealer_.seal({table, key, row.version}, value->expose());
  row.sealed_hash = crypto::sha256(sealed);
  put_.bind(1, table).bind(2, key).bind(3, static_cast<int64_t>(row.version)).bind(4, ByteView(sealed));
  TRY(put_.run());
  return row;
}

Result<JournalHead> SqliteRows::append(const JournalHead& head, const JournalEvent& event,
                                       std::vector<WrittenRow> rows) {
  JournalLink link{head.sequence + 1, head.hash, event.time, event.kind, event.subject, {}};
  const SecretBytes payload(TRY(encode_payload({event.text, std::move(rows)})));
  const Bytes sealed = sealer_.seal(payload_identity(link.sequence), payload.expose());
  link.payload_hash = crypto::sha256(sealed);
  const JournalHead next{link.sequence, link_hash(link)};
  const crypto::RawSignature signature = TRY(signer_.sign_raw(next.hash));
  append_.bind(1, static_cast<int64_t>(link.sequence)).bind(2, ByteView(link.previous)).bind(3, link.time);
  append_.bind(4, std::string_view(link.kind)).bind(5, std::string_view(link.subject));
  append_.bind(6, ByteView(link.payload_hash)).bind(7, ByteView(sealed)).bind(8, ByteView(signature));
  TRY(append_.run());
  return next;
}

Result<void> SqliteRows::record_head(const JournalHead& head) {
  ByteWriter end;
  end.le(head.sequence).bytes(head.hash);
  const SecretBytes recorded(end.take());
  TRY(write(kMeta, kHead, &recorded));
  return {};
}

Result<void> SqliteRows::collect(Statement& newest, std::string_view subject, size_t limit,
                                 std::vector<JournalEvent>& out) {
  newest.bind(1, subject).bind(2, static_cast<int64_t>(limit));
  for (;;) {
    const bool row = TRY(newest.step());
    if (!row) break;
    JournalEvent event;
    event.sequence = static_cast<uint64_t>(newest.integer(0));
    event.time = newest.integer(1);
    event.kind = newest.text(2);
    event.subject = subject;
    const Result<SecretBytes> opened = sealer_.open(payload_identity(event.sequence), newest.blob(3));
    Result<JournalPayload> payload =
        opened.ok() ? decode_payload(opened->expose()) : Result<JournalPayload>(Error(opened.error()));
    if (!payload.ok()) {
      newest.reset();
      return std::move(payload).error();
    }
    event.text = std::move(payload->text);
    out.push_back(std::move(event));
  }
  newest.reset();
  return {};
}

Result<std::vector<JournalEvent>> SqliteRows::events(std::string_view subject, size_t limit) {
  std::vector<JournalEvent> out;
  TRY(collect(events_, subject, limit, out));
  TRY(collect(tags_, subject, std::min(limit, kMaxOfMany), out));
  TRY(collect(unproven_, subject, std::min(limit, kMaxOfMany), out));
  std::sort(out.begin(), out.end(),
            [](const JournalEvent& a, const JournalEvent& b) { return a.sequence > b.sequence; });
  if (out.size() > limit) out.resize(limit);
  std::reverse(out.begin(), out.end());
  return out;
}

Result<std::optional<crypto::Digest>> SqliteRows::hash_before_next(uint64_t sequence) {
  previous_.bind(1, static_cast<int64_t>(sequence + 1));
  const bool found = TRY(previous_.step());
  std::optional<crypto::Digest> out;
  if (found) out = TRY(fixed<32>(previous_.blob(0), "a journal entry's previous hash"));
  previous_.reset();
  return out;
}

Result<void> SqliteRows::verify_row(const WrittenRow& row) {
  get_.bind(1, row.table).bind(2, row.key);
  const bool found = TRY(get_.step());
  const bool sound = row.version == 0 ? !found
                                      : found && static_cast<uint64_t>(get_.integer(0)) == row.version &&
                                            crypto::sha256(get_.blob(1)) == row.sealed_hash;
  get_.reset();
  if (!sound) return damaged(row.table + " `" + row.key + "` is not what the journal says");
  return {};
}

Result<void> SqliteRows::verify_recorded_head(const JournalHead& head) {
  const std::optional<SecretBytes> recorded = TRY(get(kMeta, kHead));
  if (!recorded) return head.sequence == 0 ? Result<void>() : damaged("the journal's end is not recorded");
  ByteReader in(recorded->expose(), "journal head");
  const uint64_t sequence = TRY(in.le<uint64_t>());
  const crypto::Digest hash = TRY(in.array<32>());
  if (sequence == head.sequence && hash == head.hash) return {};
  return damaged("the journal ends at entry " + std::to_string(head.sequence) + ", expected " +
                 std::to_string(sequence));
}

Result<JournalHead> SqliteRows::verify(size_t count) {
  JournalHead head;
  uint64_t expected_sequence = 0;
  crypto::Digest expected_hash{};
  std::set<std::pair<std::string, std::string>> seen;
  std::vector<WrittenRow> rows;
  newest_.bind(1, static_cast<int64_t>(count));
  for (;;) {
    const bool row = TRY(newest_.step());
    if (!row) break;
    JournalLink link;
    link.sequence = static_cast<uint64_t>(newest_.integer(0));
    const std::string name = "journal entry " + std::to_string(link.sequence);
    link.previous = TRY(fixed<32>(newest_.blob(1), "a journal entry's previous hash"));
    link.time = newest_.integer(2);
    link.kind = newest_.text(3);
    link.subject = newest_.text(4);
    link.payload_hash = TRY(fixed<32>(newest_.blob(5), "a journal entry's payload hash"));
    const Bytes sealed(newest_.blob(6).begin(), newest_.blob(6).end());
    const crypto::RawSignature signature = TRY(fixed<64>(newest_.blob(7), "a journal entry's signature"));
    const crypto::Digest hash = link_hash(link);
    if (crypto::sha256(sealed) != link.payload_hash) return damaged(name + ": payload");
    if (!signer_.public_key().verify_raw(hash, signature)) return damaged(name + ": signature");
    if (head.sequence == 0) {
      head = {link.sequence, hash};
    } else if (link.sequence != expected_sequence || hash != expected_hash) {
      return damaged(name + ": chain");
    }
    if (link.sequence == 1 && link.previous != crypto::Digest{}) return damaged(name + ": chain");
    expected_sequence = link.sequence - 1;
    expected_hash = link.previous;
    const SecretBytes payload = TRY(sealer_.open(payload_identity(link.sequence), sealed));
    const JournalPayload decoded = TRY(decode_payload(payload.expose()));
    for (const WrittenRow& written : decoded.rows) {
      if (seen.emplace(written.table, written.key).second) rows.push_back(written);
    }
  }
  newest_.reset();
  for (const WrittenRow& row : rows) TRY(verify_row(row));
  TRY(verify_recorded_head(head));
  return head;
}

}  // namespace cloister::cas
