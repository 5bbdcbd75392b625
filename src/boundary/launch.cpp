// See launch.h.
#include "boundary/launch.h"

namespace cloister::boundary {
namespace {

constexpr uint32_t kFlagPatch = 1;

void write_list(ByteWriter& out, const std::vector<std::string>& list) {
  out.le(static_cast<uint32_t>(list.size()));
  for (const std::string& text : list) out.field(text);
}

Result<std::string> read_text(ByteReader& in) { return std::string(as_text(TRY(in.field(kMaxLaunchSize)))); }

Result<std::vector<std::string>> read_list(ByteReader& in) {
  const uint32_t count = TRY(in.le<uint32_t>());
  // Each entry takes at least its length's four bytes, so the count cannot make us allocate more than came
  // in.
  if (count > kMaxLaunchStrings || count > in.remaining() / 4) {
    return Error(Code::Malformed, "launch record: too many entries in a list");
  }
  std::vector<std::string> list;
  list.reserve(count);
  for (uint32_t i = 0; i < count; ++i) list.push_back(TRY(read_text(in)));
  return list;
}

}  // namespace

Bytes encode_launch(const LaunchRecord& record) {
  ByteWriter out;
  out.le(kLaunchVersion).le(record.log_level).le(record.patch_system_calls ? kFlagPatch : uint32_t{0});
  out.field(record.config_id).field(record.cas_address).field(record.las_address).field(record.cas_key_hash);
  write_list(out, record.args);
  write_list(out, record.environment);
  write_list(out, record.volumes);
  return out.take();
}

Result<LaunchRecord> decode_launch(ByteView bytes) {
  if (bytes.size() > kMaxLaunchSize) return Error(Code::Malformed, "launch record: too large");
  ByteReader in(bytes, "launch record");
  const uint32_t version = TRY(in.le<uint32_t>());
  if (version != kLaunchVersion) return Error(Code::Malformed, "launch record: unknown version");
  LaunchRecord record;
  record.log_level = TRY(in.le<uint32_t>());
  const uint32_t flags = TRY(in.le<uint32_t>());
  if (record.log_level > 6 || (flags & ~kFlagPatch) != 0) {
    return Error(Code::Malformed, "launch record: unknown log level or flag");
  }
  record.patch_system_calls = (flags & kFlagPatch) != 0;
  record.config_id = TRY(read_text(in));
  record.cas_address = TRY(read_text(in));
  record.las_address = TRY(read_text(in));
  record.cas_key_hash = TRY(read_text(in));
  record.args = TRY(read_list(in));
  record.environment = TRY(read_list(in));
  record.volumes = TRY(read_list(in));
  TRY(in.expect_end());
  return record;
}

}  // namespace cloister::boundary
