#include "enclave/vfs/sealed.h"

#include <cstring>

#include "crypto/random.h"
#include "crypto/sha256.h"
#include "enclave/arch/clock.h"
#include "enclave/arch/log.h"
#include "enclave/arch/sgx_keys.h"
#include "enclave/vfs/host_storage.h"

namespace cloister::enclave {
namespace {

using volume::AnchorContext;

// The context of an anchor: what a key request says that is not the same for every enclave. policy u16,
// ISVSVN u16, CPUSVN 16, key id 32, zeros.
AnchorContext fresh_context(sgx::SealPolicy policy) {
  const sgx::Report self = make_report({}, {});
  const ByteArray<32> key_id = crypto::random_array<32>();
  AnchorContext context{};
  store_le(context.data(), static_cast<uint16_t>(policy));
  store_le(context.data() + 2, self.body.isv_svn);
  std::memcpy(context.data() + 4, self.body.cpu_svn, sizeof(self.body.cpu_svn));
  std::memcpy(context.data() + 20, key_id.data(), key_id.size());
  return context;
}

// SDM vol. 3D, EGETKEY. The older SVNs of an older start stay usable: the CPU refuses only higher ones than
// its own.
Result<volume::AnchoredKeys> keys_for(const AnchorContext& context, sgx::SealPolicy policy) {
  if (load_le<uint16_t>(context.data()) != static_cast<uint16_t>(policy))
    return Error(Code::Denied, "another seal policy");
  sgx::KeyRequest request{};
  request.key_name = static_cast<uint16_t>(sgx::KeyName::Seal);
  request.key_policy = static_cast<uint16_t>(policy);
  request.isv_svn = load_le<uint16_t>(context.data() + 2);
  std::memcpy(request.cpu_svn, context.data() + 4, sizeof(request.cpu_svn));
  std::memcpy(request.key_id, context.data() + 20, sizeof(request.key_id));
  // A debug enclave gets other keys; AVX or not makes no difference.
  request.attribute_mask.flags = sgx::kFlagInit | sgx::kFlagDebug | sgx::kFlagMode64;
  auto sealed = get_key(request);
  if (!sealed.ok()) return Error(Code::Denied, "the CPU refuses the seal key");
  volume::AnchoredKeys keys;
  const ByteView root = sealed.value().expose();
  crypto::hkdf_sha256(root, {}, as_bytes("cloister sealed volume v1"), keys.volume.expose());
  crypto::hkdf_sha256(root, {}, as_bytes("cloister sealed anchor v1"), keys.anchor.expose());
  return keys;
}

SysResult<std::unique_ptr<volume::Storage>> bind_folder(std::string_view what, std::string& why) {
  auto storage = bind_host_storage(what);
  if (!storage.ok())
    why =
        "the host gives no folder for the sealed volume or its anchor: cloister run --sealed FOLDER "
        "--sealed-anchor FOLDER";
  return storage;
}

}  // namespace

SysResult<SealedVolume> open_sealed_volume(const sgx::Standalone& standalone, std::string& why) {
  SealedVolume out;
  out.storage = TRY(bind_folder("sealed", why));
  out.anchor_storage = TRY(bind_folder("anchor", why));
  const sgx::SealPolicy policy = standalone.seal_policy;
  const auto keys = [policy](const AnchorContext& context) { return keys_for(context, policy); };
  const TimeSpec time = to_timespec(realtime_ns());
  auto opened = volume::open_anchored(*out.storage, *out.anchor_storage, fresh_context(policy), keys,
                                      {time.seconds, static_cast<uint32_t>(time.nanoseconds)});
  if (!opened.ok()) {
    why = "the sealed volume " + standalone.sealed_path + ": " + opened.error().message();
    if (opened.error().code() == Code::Integrity) end_enclave(3, why);
    return Errno::Busy;
  }
  out.opened = std::move(opened).value();
  return out;
}

}  // namespace cloister::enclave
