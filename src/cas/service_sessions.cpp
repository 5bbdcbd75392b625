// Sessions: created, replaced and read.
#include <ctime>

#include "cas/service.h"
#include "crypto/random.h"

namespace cloister::cas {
namespace {

constexpr std::string_view kAsciiAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

Error not_found(const std::string& name) { return {Code::NotFound, "Session not found: " + name}; }

Error wrong_predecessor(const policy::Session& session) {
  return {Code::NotFound, "Could not create successor session. Invalid previous session digest: " +
                              to_hex(*session.predecessor)};
}

SecretRecord make_secret(const policy::SecretSpec& spec) {
  SecretRecord record;
  record.kind = spec.kind;
  record.size = spec.size;
  record.generated = true;
  Bytes value(spec.size);
  crypto::random_bytes(value);
  if (spec.kind == policy::SecretKind::Ascii) {
    for (uint8_t& byte : value) byte = static_cast<uint8_t>(kAsciiAlphabet[byte & 63]);
  }
  record.value = SecretBytes(std::move(value));
  return record;
}

uint64_t size_of_made_secrets(const policy::Session& session) {
  uint64_t size = 0;
  for (const policy::SecretSpec& spec : session.secrets) size += spec.value ? 0 : spec.size;
  return size;
}

Result<crypto::Digest> digest_of_given(Transaction& transaction, const policy::Session& session,
                                       const policy::Volume& volume) {
  if (volume.keyless()) return crypto::Digest{};
  Key256 key;
  if (volume.key) {
    key = *volume.key;
  } else {
    const auto row = TRY(transaction.get(kSecrets, row_key(session.name, volume.key_secret)));
    if (!row) return Error(Code::Internal, "a secret that was just stored is missing");
    const SecretRecord secret = TRY(decode_secret(row->expose()));
    key = Key256(TRY(ByteReader(secret.value.expose(), "volume key").array<32>()));
  }
  return crypto::hmac_sha256(key.expose(), {as_bytes("cloister-cas-volume-v1"), *volume.tag});
}

}  // namespace

// Both `find`s: the rows come from the store or from a transaction over it.
namespace {
template <class Source>
Result<std::optional<std::pair<SessionRecord, SessionCache::Parsed>>> load_session(Source& source,
                                                                                   SessionCache& cache,
                                                                                   const std::string& name) {
  using Found = std::pair<SessionRecord, SessionCache::Parsed>;
  const std::optional<SecretBytes> row = TRY(source.get(kSessions, name));
  if (!row) return std::optional<Found>();
  const SessionRecord record = TRY(decode_session(row->expose()));
  SessionCache::Parsed parsed = cache.find(record.hash);
  if (parsed == nullptr) {
    const std::optional<SecretBytes> version = TRY(source.get(kVersions, row_key(name, to_hex(record.hash))));
    if (!version) return Error(Code::Integrity, "the text of session " + name + " is missing");
    const VersionRecord text = TRY(decode_version(version->expose()));
    Result<policy::Session> session = policy::parse_session(text.text);
    // It was accepted once; a later version of the language may be stricter.
    if (!session.ok()) return std::move(session.error()).within("session " + name);
    parsed = std::make_shared<const policy::Session>(std::move(*session));
    cache.add(record.hash, parsed);
  }
  return std::optional<Found>(Found(record, std::move(parsed)));
}
}  // namespace

Result<std::optional<Service::Current>> Service::find(const std::string& name) {
  auto found = TRY(load_session(store_, cache_, name));
  if (!found) return std::optional<Current>();
  return std::optional<Current>(Current{found->first, found->second});
}

Result<std::optional<Service::Current>> Service::find(Transaction& transaction, const std::string& name) {
  auto found = TRY(load_session(transaction, cache_, name));
  if (!found) return std::optional<Current>();
  return std::optional<Current>(Current{found->first, found->second});
}

Result<Service::Current> Service::readable(const std::string& name, const ClientKey& client) {
  std::optional<Current> current = TRY(find(name));
  if (!current || !allowed(current->session->access.read, current->record.creator, client)) {
    return not_found(name);
  }
  return std::move(*current);
}

Result<Service::Current> Service::owned(const std::string& name, const ClientKey& client) {
  std::optional<Current> current = TRY(find(name));
  if (!current || !client || *client != current->record.creator) return not_found(name);
  return std::move(*current);
}

Result<void> Service::check_upload(Transaction& transaction, const policy::Session& session,
                                   const std::optional<Current>& current, const crypto::Digest& client) {
  if (current) {
    if (*session.predecessor != current->record.hash) return wrong_predecessor(session);
    const policy::AccessPolicy& access = current->session->access;
    if (allowed(access.update, current->record.creator, client)) return {};
    // Whoever may not even read it learns nothing from having guessed a hash.
    if (!allowed(access.read, current->record.creator, client)) return wrong_predecessor(session);
    return Error(Code::Denied, "no right to update session " + session.name);
  }
  if (session.predecessor) return wrong_predecessor(session);
  // The nearest namespace that exists decides.
  for (std::string_view parent = policy::parent_namespace(session.name); !parent.empty();
       parent = policy::parent_namespace(parent)) {
    const std::optional<Current> above = TRY(find(transaction, std::string(parent)));
    if (!above) continue;
    if (allowed(create_list(above->session->access), above->record.creator, client)) return {};
    return Error(Code::Denied, "no right to create sessions in this namespace");
  }
  return {};
}

Result<void> Service::charge(Transaction& transaction, const crypto::Digest& client, bool is_new,
                             uint64_t bytes) {
  const std::string key = to_hex(client);
  const std::optional<SecretBytes> row = TRY(transaction.get(kUploaders, key));
  UploaderRecord uploader;
  if (row) uploader = TRY(decode_uploader(row->expose()));
  uploader.sessions += is_new ? 1 : 0;
  uploader.bytes += bytes;
  if (is_new && uploader.sessions > options_.max_sessions) {
    return Error(Code::Denied, "this key has created " + std::to_string(options_.max_sessions) +
                                   " sessions, the most that this service keeps of one");
  }
  if (uploader.bytes > options_.max_bytes) {
    return Error(Code::Denied, "this key's sessions would have more than " +
                                   std::to_string(options_.max_bytes) +
                                   " bytes, the most that this service keeps of one");
  }
  transaction.put(kUploaders, key, encode(uploader));
  return {};
}

Result<void> Service::store_secrets(Transaction& transaction, const policy::Session& session,
                                    const std::optional<Current>& current) {
  if (current) {
    for (const policy::SecretSpec& spec : current->session->secrets) {
      if (session.find_secret(spec.name) == nullptr) {
        transaction.erase(kSecrets, row_key(session.name, spec.name));
      }
    }
  }
  for (const policy::SecretSpec& spec : session.secrets) {
    const std::string key = row_key(session.name, spec.name);
    if (spec.value) {
      SecretRecord given;
      given.kind = spec.kind;
      given.size = static_cast<uint32_t>(spec.value->size());
      given.value = SecretBytes(Bytes(*spec.value));
      transaction.put(kSecrets, key, encode(given));
      continue;
    }
    const std::optional<SecretBytes> row = TRY(transaction.get(kSecrets, key));
    if (row) {
      const SecretRecord kept = TRY(decode_secret(row->expose()));
      if (kept.generated && kept.kind == spec.kind && kept.size == spec.size) continue;
    }
    transaction.put(kSecrets, key, encode(make_secret(spec)));
  }
  return {};
}

// A volume whose key or tag the text changed starts from what the text says, under a new epoch: whoever still
// writes the old one is fenced off.
Result<void> Service::store_volumes(Transaction& transaction, const policy::Session& session) {
  for (const policy::Volume& volume : session.volumes) {
    const std::string key = row_key(session.name, volume.name);
    const crypto::Digest given = TRY(digest_of_given(transaction, session, volume));
    const std::optional<SecretBytes> row = TRY(transaction.get(kVolumes, key));
    VolumeRecord record;
    if (row) record = TRY(decode_volume(row->expose()));
    if (row ? record.given == given : volume.keyless()) continue;
    VolumeRecord fresh;
    fresh.given = given;
    fresh.tag = volume.tag;
    fresh.epoch = record.epoch + 1;
    fresh.reset_epoch = fresh.epoch;
    if (volume.keyless()) crypto::random_bytes(fresh.key.expose());
    if (record.writer != InstanceId{}) TRY(keep_unleased(transaction, session.name, record.writer));
    transaction.put(kVolumes, key, encode(fresh));
  }
  return {};
}

Result<std::optional<crypto::Digest>> Service::create_session(std::string_view text,
                                                              const crypto::Digest& client) {
  auto session = std::make_shared<const policy::Session>(TRY(policy::parse_session(text)));
  const crypto::Digest hash = policy::session_hash(*session, client);
  bool exists = false;
  TRY(store_.update([&](Transaction& transaction) -> Result<void> {
    const std::optional<Current> current = TRY(find(transaction, session->name));
    exists = current && !session->predecessor;
    if (exists) return {};
    TRY(check_upload(transaction, *session, current, client));
    TRY(charge(transaction, client, !current, text.size() + size_of_made_secrets(*session)));
    TRY(store_secrets(transaction, *session, current));
    TRY(store_volumes(transaction, *session));
    VersionRecord version{client, std::time(nullptr), std::string(text)};
    transaction.put(kVersions, row_key(session->name, to_hex(hash)), encode(version));
    transaction.put(kSessions, session->name, encode(SessionRecord{hash, client, version.uploaded}));
    std::string said = "session hash " + to_hex(hash) + ", uploaded by key " + to_hex(client);
    if (current) said += ", replaces " + to_hex(current->record.hash);
    transaction.journal(current ? "updated" : "created", subject_of(session->name, client), said);
    if (current && current->record.creator != client) {
      transaction.journal("updated", subject_of(session->name, current->record.creator), said);
    }
    return {};
  }));
  if (exists) return std::optional<crypto::Digest>();
  cache_.add(hash, std::move(session));
  return std::optional<crypto::Digest>(hash);
}

Result<SessionText> Service::read_session(const std::string& name, const std::optional<crypto::Digest>& hash,
                                          const ClientKey& client) {
  const Current current = TRY(readable(name, client));
  const crypto::Digest wanted = hash.value_or(current.record.hash);
  const auto row = TRY(store_.get(kVersions, row_key(name, to_hex(wanted))));
  const Error absent(Code::NotFound, "Session not found: " + name + " with hash " + to_hex(wanted));
  if (!row) return Error(absent);
  VersionRecord version = TRY(decode_version(row->expose()));
  // Who may read the session now was not thereby given what it said before.
  const bool is_owner = client && *client == current.record.creator;
  if (wanted != current.record.hash && !is_owner) {
    const Result<policy::Session> old = policy::parse_session(version.text);
    if (!old.ok() || !allowed(old->access.read, version.creator, client)) return Error(absent);
  }
  return SessionText{std::move(version.text), wanted};
}

Result<std::map<std::string, std::string>> Service::public_values(const std::string& name,
                                                                  const ClientKey& client) {
  const std::optional<Current> current = TRY(find(name));
  if (!current) return not_found(name);
  std::map<std::string, std::string> values;
  for (const policy::SecretSpec& spec : current->session->secrets) {
    if (!spec.export_public) continue;
    const auto row = TRY(store_.get(kSecrets, row_key(name, spec.name)));
    if (!row) continue;  // replaced this very moment
    const SecretRecord secret = TRY(decode_secret(row->expose()));
    const bool ascii = secret.kind == policy::SecretKind::Ascii;
    values[spec.name] = ascii ? std::string(as_text(secret.value.expose())) : to_hex(secret.value.expose());
  }
  const bool may_read = allowed(current->session->access.read, current->record.creator, client);
  if (values.empty() && !may_read) return not_found(name);
  return values;
}

Result<std::vector<VolumeSummary>> Service::volumes(const std::string& name, const ClientKey& client) {
  const Current current = TRY(owned(name, client));
  std::vector<VolumeSummary> out;
  for (const policy::Volume& volume : current.session->volumes) {
    VolumeSummary summary;
    summary.name = volume.name;
    summary.initial = volume.tag;
    const auto row = TRY(store_.get(kVolumes, row_key(name, volume.name)));
    if (row) {
      const VolumeRecord record = TRY(decode_volume(row->expose()));
      summary.tag = record.tag;
      summary.updates = record.updates;
      summary.updated = record.updated;
      summary.in_use = record.writer != InstanceId{} && instances_.live(record.writer);
    }
    out.push_back(std::move(summary));
  }
  return out;
}

Result<std::vector<JournalEvent>> Service::events(const std::string& name, const ClientKey& client,
                                                  size_t limit) {
  if (!client) return not_found(name);
  std::vector<JournalEvent> events = TRY(store_.events(subject_of(name, *client), limit));
  if (!events.empty()) return events;
  // An upload is an event; but a journal's oldest entries may be of a version that did not say whose they
  // are.
  const Result<Current> current = owned(name, client);
  if (!current.ok()) return Error(current.error());
  return events;
}

}  // namespace cloister::cas
