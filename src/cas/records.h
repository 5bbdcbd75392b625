// The service's rows as values and as bytes. Rows come back authenticated, but decoding is strict all the
// same: a row of an unknown version must not be half understood.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/secret.h"
#include "boundary/config.h"
#include "crypto/sha256.h"
#include "policy/one_time_password.h"
#include "policy/session.h"

namespace cloister::cas {

using Tag = ByteArray<16>;
using InstanceId = ByteArray<16>;

// Tables. Keys: a session's name; NAME:hash, NAME:secret, NAME:volume (names have no ':'); an instance's id;
// a session's name; the key hash of who uploads; NAME:hash of a secret; NAME:service.
inline constexpr std::string_view kSessions = "session";
inline constexpr std::string_view kVersions = "version";
inline constexpr std::string_view kSecrets = "secret";
inline constexpr std::string_view kVolumes = "volume";
inline constexpr std::string_view kInstances = "instance";
inline constexpr std::string_view kUnleased = "unleased";
inline constexpr std::string_view kUploaders = "uploader";
inline constexpr std::string_view kPasswords = "password";
inline constexpr std::string_view kSingletons = "singleton";

std::string row_key(std::string_view session, std::string_view part);

// The journal's subject for what concerns versions of a session that this key uploaded: NAME:key. Whoever
// replaces another's session reads nothing under the other's subject.
std::string subject_of(std::string_view session, const crypto::Digest& owner);

// The version in force.
struct SessionRecord {
  crypto::Digest hash{};
  crypto::Digest creator{};  // who uploaded it: SHA-256 of the SPKI
  int64_t updated = 0;       // seconds since 1970
};

// A version, in force or not. Never changes.
struct VersionRecord {
  crypto::Digest creator{};
  int64_t uploaded = 0;
  std::string text;
};

struct SecretRecord {
  policy::SecretKind kind = policy::SecretKind::Ascii;
  uint32_t size = 0;
  bool generated = false;
  SecretBytes value;
};

struct VolumeRecord {
  crypto::Digest given{};  // of the key and tag that the session's text gives; zero: made by the service
  Key256 key;              // made by the service; zero when given
  std::optional<Tag> tag;  // newest acknowledged; empty: no state yet
  Tag previous{};          // what `tag` replaced, zero for the first
  uint64_t updates = 0;
  int64_t updated = 0;
  uint64_t epoch = 0;         // newest given out, to whatever mount; only grows, whatever else is reset
  InstanceId writer{};        // who mounted it for itself last; zero: nobody, or it has exited
  uint64_t writer_epoch = 0;  // what that one got; stays when it exits
  uint64_t reset_epoch = 0;   // of the last change of key or tag by the session's text
};

struct InstanceVolume {
  std::string name;
  uint64_t epoch = 0;
  boundary::UpdatePolicy policy = boundary::UpdatePolicy::RollbackProtected;
};

// An enclave that was given a configuration.
struct InstanceRecord {
  crypto::Digest key{};    // SHA-256 of the instance key's SPKI
  crypto::Digest owner{};  // who uploaded the version that it was given; zero in a row of format 1
  std::string session;
  std::string service;
  std::vector<InstanceVolume> volumes;
};

// A session's instances that hold no lease, oldest first. No volume's row names them, so without this list
// nothing would lead to the rows of those that ended without a notice.
struct UnleasedRecord {
  std::vector<InstanceId> instances;
};
inline constexpr size_t kMaxUnleased = 2048;

// What a key has uploaded so far; nothing of it is ever given back, because nothing is deleted.
struct UploaderRecord {
  uint64_t sessions = 0;
  uint64_t bytes = 0;  // of texts, and of the secrets that were made for them
};

// One-time passwords of one secret: which steps were used, and how many wrong ones came since when. What is
// forgotten here could be used or guessed again, so it is durable.
struct PasswordRecord {
  policy::UsedSteps used;
  uint32_t failures = 0;
  int64_t failures_since = 0;  // seconds since 1970
};
inline constexpr uint32_t kMaxPasswordFailures = 10;  // in
inline constexpr int64_t kPasswordFailureTime = 600;  // seconds

// The enclave that is the service now, when there may be only one.
struct SingletonRecord {
  InstanceId instance{};
};

SecretBytes encode(const SessionRecord& record);
SecretBytes encode(const VersionRecord& record);
SecretBytes encode(const SecretRecord& record);
SecretBytes encode(const VolumeRecord& record);
SecretBytes encode(const InstanceRecord& record);
SecretBytes encode(const UnleasedRecord& record);
SecretBytes encode(const UploaderRecord& record);
SecretBytes encode(const PasswordRecord& record);
SecretBytes encode(const SingletonRecord& record);

// Malformed when it is not what `encode` makes.
Result<SessionRecord> decode_session(ByteView bytes);
Result<VersionRecord> decode_version(ByteView bytes);
Result<SecretRecord> decode_secret(ByteView bytes);
Result<VolumeRecord> decode_volume(ByteView bytes);
Result<InstanceRecord> decode_instance(ByteView bytes);
Result<UnleasedRecord> decode_unleased(ByteView bytes);
Result<UploaderRecord> decode_uploader(ByteView bytes);
Result<PasswordRecord> decode_password(ByteView bytes);
Result<SingletonRecord> decode_singleton(ByteView bytes);

}  // namespace cloister::cas
