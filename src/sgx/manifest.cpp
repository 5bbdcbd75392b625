#include "sgx/manifest.h"

#include "sgx/layout.h"

namespace cloister::sgx {
namespace {

constexpr std::string_view kMagic = "CLSTMAN1";
constexpr uint32_t kStringLimit = 4096;
constexpr uint32_t kMountLimit = 64;
constexpr uint32_t kArgumentLimit = 256;
constexpr uint32_t kDebugFlag = 1, kStandaloneFlag = 2;

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
  if (!m.standalone) return {};
  const std::string& sealed = m.standalone->sealed_path;
  if (!sealed.empty() && (sealed.size() < 2 || sealed[0] != '/' || sealed.back() == '/' ||
                          sealed.find("/.") != std::string::npos || sealed.find("//") != std::string::npos)) {
    return bad("the sealed volume's path is not an absolute path");
  }
  return {};
}

uint32_t flags_of(const Manifest& m) {
  return (m.debug ? kDebugFlag : 0) | (m.standalone ? kStandaloneFlag : 0);
}

Result<std::vector<std::string>> texts(ByteReader& reader, uint32_t limit, std::string_view what) {
  const uint32_t count = TRY(reader.le<uint32_t>());
  if (count > limit) return bad("too many " + std::string(what) + "s");
  std::vector<std::string> out;
  for (uint32_t i = 0; i < count; ++i) out.push_back(TRY(text(reader, what)));
  return out;
}

Result<Standalone> standalone(ByteReader& reader) {
  Standalone out;
  out.arguments = TRY(texts(reader, kArgumentLimit, "argument"));
  out.sealed_path = TRY(text(reader, "sealed volume's path"));
  const uint8_t policy = TRY(reader.le<uint8_t>());
  if (policy != 1 && policy != 2) return bad("seal policy");
  out.seal_policy = static_cast<SealPolicy>(policy);
  return out;
}

}  // namespace

Bytes encode_manifest(const Manifest& m) {
  ByteWriter out;
  out.text(kMagic).le(kManifestVersion).le(m.protocol_version).le(flags_of(m)).le(m.threads);
  out.le(m.heap_size).le(m.stack_size).bytes(m.root).bytes(m.agent_sha256).field(m.name).field(m.entry);
  out.le(static_cast<uint32_t>(m.mounts.size()));
  for (const std::string& mount : m.mounts) out.field(mount);
  if (!m.standalone) return out.take();
  out.le(static_cast<uint32_t>(m.standalone->arguments.size()));
  for (const std::string& argument : m.standalone->arguments) out.field(argument);
  out.field(m.standalone->sealed_path).le(static_cast<uint8_t>(m.standalone->seal_policy));
  return out.take();
}

Result<Manifest> decode_manifest(ByteView bytes) {
  ByteReader reader(bytes, "manifest");
  if (as_text(TRY(reader.take(kMagic.size()))) != kMagic) return bad("not a manifest");
  if (TRY(reader.le<uint32_t>()) != kManifestVersion) return bad("unknown version");
  Manifest m;
  m.protocol_version = TRY(reader.le<uint32_t>());
  const uint32_t flags = TRY(reader.le<uint32_t>());
  if ((flags & ~(kDebugFlag | kStandaloneFlag)) != 0) return bad("unknown flags");
  m.debug = (flags & kDebugFlag) != 0;
  m.threads = TRY(reader.le<uint32_t>());
  m.heap_size = TRY(reader.le<uint64_t>());
  m.stack_size = TRY(reader.le<uint64_t>());
  m.root = TRY(reader.array<32>());
  m.agent_sha256 = TRY(reader.array<32>());
  m.name = TRY(text(reader, "name"));
  m.entry = TRY(text(reader, "entry"));
  m.mounts = TRY(texts(reader, kMountLimit, "mount point"));
  if ((flags & kStandaloneFlag) != 0) m.standalone = TRY(standalone(reader));
  TRY(reader.expect_end());
  TRY(check(m));
  return m;
}

}  // namespace cloister::sgx
