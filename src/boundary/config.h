// What passes between the attested agent and the kernel: the configuration that the service released for this
// enclave, and the events that the kernel wants the service to know. Both ends run inside the enclave, but
// the bytes were assembled elsewhere, so decoding is strict and bounded all the same: there is one encoding
// per value. The same encoding travels from the service to the agent (docs/formats/attest-protocol.md,
// "Configuration").
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/secret.h"

namespace cloister::boundary {

inline constexpr size_t kMaxConfigSize = 24u << 20;     // bytes of an encoded EnclaveConfig
inline constexpr size_t kMaxConfigStrings = 4096;       // entries of argv and of the environment, each
inline constexpr size_t kMaxConfigString = 128u << 10;  // bytes of one (Linux: MAX_ARG_STRLEN)
inline constexpr size_t kMaxMounts = 64;
inline constexpr size_t kMaxInjectedFiles = 1024;
inline constexpr size_t kMaxInjectedFile = 8u << 20;  // bytes of one
inline constexpr size_t kMaxPath = 4095;
inline constexpr size_t kMaxVolumeName = 255;
inline constexpr size_t kMaxEventSize = 32u << 10;  // bytes of an encoded AgentEvent
inline constexpr size_t kMaxAcknowledgeText = 1024;

// How the service treats a volume's tag (docs/formats/session.md, "volumes").
enum class UpdatePolicy : uint8_t {
  RollbackProtected = 0,
  RollbackProtectedReinitializable = 1,
  Ephemeral = 2,             // always created empty; its tag is never sent
  NoRollbackProtection = 3,  // the newest state is opened, whatever its tag
};

// When fsync on the volume returns.
enum class SyncPolicy : uint8_t {
  Strict = 0,   // after the service has acknowledged the new tag
  Durable = 1,  // after the bytes are on the disk; tags follow
  OnClose = 2,  // tags are sent when the volume is unmounted
};

struct MountConfig {
  std::string name;  // the session's volume name: how tag updates call it
  std::string path;  // absolute, normalised
  Key256 key;
  ByteArray<16> tag{};  // of the newest state; zero when `create`
  bool create = false;  // the service knows no state yet: make an empty volume and report its tag
  bool read_only = false;
  UpdatePolicy update_policy = UpdatePolicy::RollbackProtected;
  SyncPolicy sync_policy = SyncPolicy::Strict;
  uint64_t epoch = 0;  // of this writer's lease; never returns (volume::OpenOptions::epoch)
};

struct InjectedFile {
  std::string path;  // absolute, normalised
  uint16_t mode = 0400;
  SecretBytes content;
};

struct EnclaveConfig {
  ByteArray<16> instance_id{};
  std::vector<std::string> argv;         // argv[0] included; at least one
  std::vector<std::string> environment;  // "NAME=value"
  std::string working_directory = "/";   // absolute, normalised
  std::vector<MountConfig> mounts;       // in mount order; names and paths are unique
  std::vector<InjectedFile> files;       // paths are unique
};

SecretBytes encode_config(const EnclaveConfig& config);
// Malformed when anything is out of bounds, not normalised, double or left over. The message names the field,
// never a value.
Result<EnclaveConfig> decode_config(ByteView bytes);

struct TagChange {
  std::string volume;
  ByteArray<16> previous{};  // zero for a volume just created
  ByteArray<16> next{};
};

// From the kernel to the agent (private call next_event). Each is answered by `acknowledge(sequence)`.
struct AgentEvent {
  enum class Kind : uint8_t { TagsChanged = 1, Exited = 2 };
  Kind kind = Kind::TagsChanged;
  uint64_t sequence = 0;           // grows by one
  std::vector<TagChange> changes;  // TagsChanged: one commit, all or nothing; 1 to kMaxMounts, names unique
  int32_t status = 0;              // Exited: the program's exit status
};

Bytes encode_event(const AgentEvent& event);
Result<AgentEvent> decode_event(ByteView bytes);

// An absolute path without empty, "." and ".." components, without NUL, and of at most kMaxPath bytes.
bool is_normalised_path(std::string_view path);

}  // namespace cloister::boundary
