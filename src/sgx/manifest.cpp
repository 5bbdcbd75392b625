#include "sgx/manifest.h"

#include "sgx/layout.h"

namespace cloister::sgx {
namespace {

constexpr std::string_view kMagic = "CLSTMAN1";
constexpr uint32_t kStringLimit = 4096;
constexpr uint32_t kMountLimit = 64;
constexpr uint32_t kDebugFlag = 1;

Error bad(std::string_view what) { return Error(Code::Malformed, "manifest: " + std::string(what)); }

Result<std::string> text(ByteReader& reader, std::string_view what) {
  const ByteView view = TRY(reader.field(kStringLimit));
  for (const uint8_t byte : view) {
    if (byte == 0) return bad(std::string(what) + " holds a zero byte");
  }
  return std::string(as_text(view));
}

Result<void> check(const Manifest& m) {
  if (m.heap_size < kMinHeap || m.heap_size > kMaxHeap || m.heap_size % kPageSize != 0)
    return bad("heap size");
  if (m.stack_size < kMinStack || m.stack_size > kMaxStack || m.stack_size % kPageSize != 0)
    return bad("stack size");
  if (m.threads < 1 || m.threads > kMaxThreads) return bad("thread count");
  if (m.entry.empty() || m.entry[0] != '/') return bad("the entry is not an absolute path");
  for (const std::string& mount : m.mounts) {
    if (mount.size() < 2 || mount[0] != '/') return bad("a mount point is not an absolute path");
  }
  return {};
}

}  // namespace

Bytes encode_manifest(const Manifest& m) {
  ByteWriter out;
  out.text(kMagic).le(kManifestVersion).le(m.protocol_version).le(m.debug ? kDebugFlag : 0u).le(m.threads);
  out.le(m.heap_size).le(m.stack_size).bytes(m.root).bytes(m.agent_sha256).field(m.name).field(m.entry);
  out.le(static_cast<uint32_t>(m.mounts.size()));
  for (const std::string& mount : m.mounts) out.field(mount);
  return out.take();
}

Result<Manifest> decode_manifest(ByteView bytes) {
  ByteReader reader(bytes, "manifest");
  if (as_text(TRY(reader.take(kMagic.size()))) != kMagic) return bad("not a manifest");
  if (TRY(reader.le<uint32_t>()) != kManifestVersion) return bad("unknown version");
  Manifest m;
  m.protocol_version = TRY(reader.le<uint32_t>());
  const uint32_t flags = TRY(reader.le<uint32_t>());
  if ((flags & ~kDebugFlag) != 0) return bad("unknown flags");
  m.debug = flags != 0;
  m.threads = TRY(reader.le<uint32_t>());
  m.heap_size = TRY(reader.le<uint64_t>());
  m.stack_size = TRY(reader.le<uint64_t>());
  m.root = TRY(reader.array<32>());
  m.agent_sha256 = TRY(reader.array<32>());
  m.name = TRY(text(reader, "name"));
  m.entry = TRY(text(reader, "entry"));
  const uint32_t mounts = TRY(reader.le<uint32_t>());
  if (mounts > kMountLimit) return bad("too many mount points");
  for (uint32_t i = 0; i < mounts; ++i) m.mounts.push_back(TRY(text(reader, "mount point")));
  TRY(reader.expect_end());
  TRY(check(m));
  return m;
}

}  // namespace cloister::sgx
