// What the CAS decides: who may create, read and replace a session, which enclave may have its configuration,
// which state of a volume is the newest. Everything durable is in the Store; kept in memory are only parsed
// sessions (they never change under their hash) and which instances are connected.
//
// Thread-safe: both listeners call it from many threads. service_sessions.cpp: sessions, for the client API;
// service_attest.cpp: attestation and leases; service_factors.cpp: what
// an enclave has to know or be besides; service_tags.cpp: tags, exit, the rest of AttestHandler.
#pragma once

#include <map>

#include "attestation/attest_server.h"
#include "cas/access.h"
#include "cas/instances.h"
#include "cas/session_cache.h"
#include "cas/store.h"
#include "cas/token_buckets.h"
#include "policy/placeholders.h"

namespace cloister::cas {

// What one uploading key may leave here, where nothing is deleted; and how long an instance without a lease
// may be without a connection (agents try for 30 s).
struct ServiceOptions {
  uint64_t max_sessions = 10000;
  uint64_t max_bytes = uint64_t{1} << 30;  // of all versions' texts, and of secrets made for them
  std::chrono::milliseconds resume_time{120000};
  std::function<int64_t()> clock;  // for one-time passwords, seconds since 1970; empty: the system's
};

// What an owner is told about a volume.
struct VolumeSummary {
  std::string name;
  std::optional<Tag> tag;      // newest acknowledged; empty: no state yet
  std::optional<Tag> initial;  // given by the session's text
  uint64_t updates = 0;
  int64_t updated = 0;  // seconds since 1970; 0: never
  bool in_use = false;
};

struct SessionText {
  std::string text;
  crypto::Digest hash{};
};

class Service final : public attestation::AttestHandler {
 public:
  explicit Service(Store& store, const ServiceOptions& options = {}) : store_(store), options_(options) {}

  // --- sessions. A session that `client` may not read is NotFound.

  // The new version's hash; empty: the session exists and the text names no predecessor. Malformed or
  // Unsupported: the text. NotFound: its predecessor is not the version in force. Denied: no right, or the
  // client has uploaded too much.
  Result<std::optional<crypto::Digest>> create_session(std::string_view text, const crypto::Digest& client);
  // `hash`: a version; empty: the one in force. An older one is for who uploaded the one in force, and for
  // whoever both versions let read.
  Result<SessionText> read_session(const std::string& name, const std::optional<crypto::Digest>& hash,
                                   const ClientKey& client);
  // The values of the session's secrets with `export_public`, for everybody.
  Result<std::map<std::string, std::string>> public_values(const std::string& name, const ClientKey& client);
  // For the creator of the version in force only; NotFound for everybody else.
  Result<std::vector<VolumeSummary>> volumes(const std::string& name, const ClientKey& client);
  // What concerns the versions that `client` uploaded, be one of them in force or not: their enclaves, also
  // those that run on, and who was refused. NotFound when there are none.
  Result<std::vector<JournalEvent>> events(const std::string& name, const ClientKey& client, size_t limit);

  // --- enclaves

  Result<attestation::Release> on_attest(const attestation::Verdict& verdict,
                                         const attestation::AttestRequest& request,
                                         const attestation::Peer& peer) override;
  Result<void> on_resume(const InstanceId& instance, const attestation::Peer& peer) override;
  Result<void> on_tags(const InstanceId& instance, const attestation::Peer& peer,
                       std::span<const attestation::TagUpdate> updates) override;
  void on_exit(const InstanceId& instance, const attestation::Peer& peer, int32_t status) override;
  void on_disconnect(const InstanceId& instance, const attestation::Peer& peer) override;
  void on_refused(const attestation::Peer& peer, std::string_view subject, attestation::DenialCode code,
                  const Error& detail) override;

  size_t connected_instances() const { return instances_.count(); }

 private:
  using Parsed = std::shared_ptr<const policy::Session>;
  struct Current {
    SessionRecord record;
    Parsed session;
  };
  struct Attempt;  // attempt.h

  Result<std::optional<Current>> find(const std::string& name);
  Result<std::optional<Current>> find(Transaction& transaction, const std::string& name);
  Result<Current> readable(const std::string& name, const ClientKey& client);
  Result<Current> owned(const std::string& name, const ClientKey& client);
  Result<void> check_upload(Transaction& transaction, const policy::Session& session,
                            const std::optional<Current>& current, const crypto::Digest& client);
  Result<void> charge(Transaction& transaction, const crypto::Digest& client, bool is_new, uint64_t bytes);
  Result<void> store_secrets(Transaction& transaction, const policy::Session& session,
                             const std::optional<Current>& current);
  Result<void> store_volumes(Transaction& transaction, const policy::Session& session);

  Result<std::optional<attestation::Release>> try_attest(const attestation::Verdict& verdict,
                                                         const attestation::AttestRequest& request,
                                                         const attestation::Peer& peer);
  Result<void> check_attempt(Attempt& attempt);
  Result<void> check_access_token(Attempt& attempt, const policy::SecretLookup& lookup);
  Result<void> spend_password(Transaction& transaction, Attempt& attempt) const;
  Result<void> take_singleton(Transaction& transaction, const Attempt& attempt);
  Result<void> grant(Transaction& transaction, Attempt& attempt);
  Result<boundary::MountConfig> grant_volume(Transaction& transaction, const Attempt& attempt,
                                             const policy::ImageVolume& mount);
  Result<void> still_granted(const InstanceId& instance, const Error& unknown);
  Result<bool> takes_tag(const VolumeRecord& record, const InstanceVolume& granted) const;
  Error deny(const Attempt& attempt, const std::string& for_owner, Error for_enclave);
  Result<void> keep_unleased(Transaction& transaction, const std::string& session,
                             const InstanceId& instance);
  Result<void> forget_instance(Transaction& transaction, const std::string& session,
                               const InstanceId& instance);
  void record(std::string_view kind, std::string_view subject, const std::string& text);
  void record_limited(std::string_view kind, const std::string& subject, const std::string& text);

  Store& store_;
  const ServiceOptions options_;
  SessionCache cache_;
  Instances instances_{options_.resume_time};
  TokenBuckets limit_{32, 0.2};  // what is written down of one kind, per subject
};

}  // namespace cloister::cas
