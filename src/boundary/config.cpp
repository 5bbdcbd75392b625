#include "boundary/config.h"

#include <algorithm>

namespace cloister::boundary {
namespace {

constexpr uint32_t kConfigMagic = 0x46434c43;  // "CLCF"
constexpr uint32_t kEventMagic = 0x56454c43;   // "CLEV"
constexpr uint16_t kVersion = 1;

Error malformed(std::string_view what) {
  return Error(Code::Malformed, std::string("configuration: ").append(what));
}

bool no_nul(std::string_view text) { return text.find('\0') == std::string_view::npos; }

// Appends to a buffer that was reserved in full: growing would leave copies of keys in freed memory.
class SecretWriter {
 public:
  explicit SecretWriter(size_t capacity) { out_.reserve(capacity); }

  void bytes(ByteView view) {
    CLOISTER_CHECK(out_.size() + view.size() <= out_.capacity());
    out_.insert(out_.end(), view.begin(), view.end());
  }
  template <class Int>
  void le(Int value) {
    uint8_t buffer[sizeof(Int)];
    store_le(buffer, value);
    bytes(buffer);
  }
  void field(ByteView view) {
    le(static_cast<uint32_t>(view.size()));
    bytes(view);
  }
  void field(std::string_view text) { field(as_bytes(text)); }
  SecretBytes take() { return SecretBytes(std::move(out_)); }

 private:
  Bytes out_;
};

size_t size_bound(const EnclaveConfig& config) {
  size_t size = 256 + config.working_directory.size();
  for (const std::string& text : config.argv) size += 4 + text.size();
  for (const std::string& text : config.environment) size += 4 + text.size();
  for (const MountConfig& mount : config.mounts) size += 128 + mount.name.size() + mount.path.size();
  for (const InjectedFile& file : config.files) size += 16 + file.path.size() + file.content.expose().size();
  return size;
}

void write_strings(SecretWriter& out, const std::vector<std::string>& strings) {
  out.le(static_cast<uint32_t>(strings.size()));
  for (const std::string& text : strings) out.field(text);
}

void write_mount(SecretWriter& out, const MountConfig& mount) {
  out.field(mount.name);
  out.field(mount.path);
  out.bytes(mount.key.expose());
  out.bytes(mount.tag);
  out.le(static_cast<uint8_t>((mount.create ? 1 : 0) | (mount.read_only ? 2 : 0)));
  out.le(static_cast<uint8_t>(mount.update_policy));
  out.le(static_cast<uint8_t>(mount.sync_policy));
  out.le(mount.epoch);
}

Result<uint32_t> read_count(ByteReader& in, size_t limit, std::string_view what) {
  const uint32_t count = TRY(in.le<uint32_t>());
  if (count > limit) return malformed(std::string("too many ").append(what));
  return count;
}

Result<std::string> read_text(ByteReader& in, size_t limit, std::string_view what) {
  const ByteView view = TRY(in.field(static_cast<uint32_t>(limit)));
  const std::string_view text = as_text(view);
  if (!no_nul(text)) return malformed(std::string(what).append(" contains NUL"));
  return std::string(text);
}

Result<std::vector<std::string>> read_strings(ByteReader& in, std::string_view what) {
  const uint32_t count = TRY(read_count(in, kMaxConfigStrings, what));
  std::vector<std::string> strings;
  for (uint32_t i = 0; i < count; ++i) {
    std::string text = TRY(read_text(in, kMaxConfigString, what));
    strings.push_back(std::move(text));
  }
  return strings;
}

Result<std::string> read_path(ByteReader& in, std::string_view what) {
  std::string path = TRY(read_text(in, kMaxPath, what));
  if (!is_normalised_path(path))
    return malformed(std::string(what).append(" is not a normalised absolute path"));
  return path;
}

Result<MountConfig> read_mount(ByteReader& in) {
  MountConfig mount;
  mount.name = TRY(read_text(in, kMaxVolumeName, "a volume name"));
  mount.path = TRY(read_path(in, "a mount path"));
  const ByteView key = TRY(in.take(32));
  std::copy(key.begin(), key.end(), mount.key.expose().begin());
  mount.tag = TRY(in.array<16>());
  const uint8_t flags = TRY(in.le<uint8_t>());
  const uint8_t update = TRY(in.le<uint8_t>());
  const uint8_t sync = TRY(in.le<uint8_t>());
  mount.epoch = TRY(in.le<uint64_t>());
  if (mount.name.empty()) return malformed("a volume has no name");
  if (mount.path == "/") return malformed("a volume cannot be mounted at /");
  if (flags > 3 || update > 3 || sync > 2) return malformed("a volume has unknown flags");
  mount.create = (flags & 1) != 0;
  mount.read_only = (flags & 2) != 0;
  if (mount.create && (mount.read_only || mount.tag != ByteArray<16>{})) {
    return malformed("a volume to be created is read-only or has a tag");
  }
  mount.update_policy = static_cast<UpdatePolicy>(update);
  mount.sync_policy = static_cast<SyncPolicy>(sync);
  return mount;
}

Result<InjectedFile> read_file(ByteReader& in) {
  InjectedFile file;
  file.path = TRY(read_path(in, "a file's path"));
  file.mode = TRY(in.le<uint16_t>());
  const ByteView content = TRY(in.field(kMaxInjectedFile));
  if (file.path == "/" || file.mode > 07777) return malformed("a file's path or mode");
  file.content = SecretBytes(Bytes(content.begin(), content.end()));
  return file;
}

Result<void> check_environment(const std::vector<std::string>& environment) {
  for (const std::string& entry : environment) {
    const size_t equals = entry.find('=');
    if (equals == 0 || equals == std::string::npos)
      return malformed("an environment entry is not NAME=value");
  }
  return {};
}

template <class Item, class Text>
bool unique(const std::vector<Item>& items, Text Item::*member) {
  std::vector<std::string_view> seen;
  seen.reserve(items.size());
  for (const Item& item : items) seen.push_back(item.*member);
  std::sort(seen.begin(), seen.end());
  return std::adjacent_find(seen.begin(), seen.end()) == seen.end();
}

Result<void> read_head(ByteReader& in, uint32_t magic) {
  const uint32_t found = TRY(in.le<uint32_t>());
  const uint16_t version = TRY(in.le<uint16_t>());
  if (found != magic) return malformed("unknown bytes");
  if (version != kVersion) return malformed("unknown version");
  return {};
}

}  // namespace

bool is_normalised_path(std::string_view path) {
  if (path.empty() || path.size() > kMaxPath || path.front() != '/' || !no_nul(path)) return false;
  if (path == "/") return true;
  while (!path.empty()) {
    path.remove_prefix(1);  // the slash
    const size_t end = std::min(path.find('/'), path.size());
    const std::string_view component = path.substr(0, end);
    if (component.empty() || component == "." || component == ".." || component.size() > 255) return false;
    path.remove_prefix(end);
  }
  return true;
}

SecretBytes encode_config(const EnclaveConfig& config) {
  SecretWriter out(size_bound(config));
  out.le(kConfigMagic);
  out.le(kVersion);
  out.bytes(config.instance_id);
  write_strings(out, config.argv);
  write_strings(out, config.environment);
  out.field(config.working_directory);
  out.le(static_cast<uint32_t>(config.mounts.size()));
  for (const MountConfig& mount : config.mounts) write_mount(out, mount);
  out.le(static_cast<uint32_t>(config.files.size()));
  for (const InjectedFile& file : config.files) {
    out.field(file.path);
    out.le(file.mode);
    out.field(file.content.expose());
  }
  return out.take();
}

Result<EnclaveConfig> decode_config(ByteView bytes) {
  if (bytes.size() > kMaxConfigSize) return malformed("too long");
  ByteReader in(bytes, "configuration");
  TRY(read_head(in, kConfigMagic));
  EnclaveConfig config;
  config.instance_id = TRY(in.array<16>());
  config.argv = TRY(read_strings(in, "arguments"));
  config.environment = TRY(read_strings(in, "environment entries"));
  config.working_directory = TRY(read_path(in, "the working directory"));
  const uint32_t mounts = TRY(read_count(in, kMaxMounts, "volumes"));
  for (uint32_t i = 0; i < mounts; ++i) {
    MountConfig mount = TRY(read_mount(in));
    config.mounts.push_back(std::move(mount));
  }
  const uint32_t files = TRY(read_count(in, kMaxInjectedFiles, "files"));
  for (uint32_t i = 0; i < files; ++i) {
    InjectedFile file = TRY(read_file(in));
    config.files.push_back(std::move(file));
  }
  TRY(in.expect_end());
  if (config.argv.empty()) return malformed("no arguments");
  TRY(check_environment(config.environment));
  if (!unique(config.mounts, &MountConfig::name) || !unique(config.mounts, &MountConfig::path) ||
      !unique(config.files, &InjectedFile::path)) {
    return malformed("a volume or file appears twice");
  }
  return config;
}

Bytes encode_event(const AgentEvent& event) {
  ByteWriter out;
  out.le(kEventMagic).le(kVersion).le(static_cast<uint8_t>(event.kind)).le(event.sequence);
  if (event.kind == AgentEvent::Kind::Exited) {
    out.le(event.status);
    return out.take();
  }
  out.le(static_cast<uint32_t>(event.changes.size()));
  for (const TagChange& change : event.changes)
    out.field(change.volume).bytes(change.previous).bytes(change.next);
  return out.take();
}

Result<AgentEvent> decode_event(ByteView bytes) {
  if (bytes.size() > kMaxEventSize) return malformed("event too long");
  ByteReader in(bytes, "event");
  TRY(read_head(in, kEventMagic));
  AgentEvent event;
  const uint8_t kind = TRY(in.le<uint8_t>());
  event.sequence = TRY(in.le<uint64_t>());
  if (kind == static_cast<uint8_t>(AgentEvent::Kind::Exited)) {
    event.kind = AgentEvent::Kind::Exited;
    event.status = TRY(in.le<int32_t>());
    TRY(in.expect_end());
    return event;
  }
  if (kind != static_cast<uint8_t>(AgentEvent::Kind::TagsChanged)) return malformed("unknown event");
  const uint32_t count = TRY(read_count(in, kMaxMounts, "tag changes"));
  if (count == 0) return malformed("an event without tag changes");
  for (uint32_t i = 0; i < count; ++i) {
    TagChange change;
    change.volume = TRY(read_text(in, kMaxVolumeName, "a volume name"));
    change.previous = TRY(in.array<16>());
    change.next = TRY(in.array<16>());
    if (change.volume.empty()) return malformed("a volume has no name");
    event.changes.push_back(std::move(change));
  }
  TRY(in.expect_end());
  if (!unique(event.changes, &TagChange::volume)) return malformed("a volume appears twice");
  return event;
}

}  // namespace cloister::boundary
