#include "sgx/sim_platform.h"

#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

#include "base/files.h"
#include "crypto/random.h"
#include "crypto/sha256.h"

namespace cloister::sgx {
namespace {

// Publishes a new secret under its name unless another process was faster; both then read the same file.
Result<void> create_secret(const std::filesystem::path& path) {
  const auto secret = crypto::random_array<32>();
  const std::filesystem::path mine =
      path.string() + "." + std::to_string(getpid()) + to_hex(crypto::random_array<4>());
  TRY(write_private_file(mine, secret));
  const int linked = link(mine.c_str(), path.c_str());
  const int error = errno;
  unlink(mine.c_str());
  if (linked != 0 && error != EEXIST) {
    return Error(Code::Unavailable, "cannot create " + path.string());
  }
  return {};
}

bool owner_only(const std::filesystem::path& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 && (status.st_mode & 077) == 0;
}

}  // namespace

Key128Bytes aes_cmac(const Key128Bytes& key, ByteView data) {
  std::unique_ptr<EVP_MAC, decltype(&EVP_MAC_free)> mac(EVP_MAC_fetch(nullptr, "CMAC", nullptr),
                                                        EVP_MAC_free);
  CLOISTER_CHECK(mac != nullptr);
  std::unique_ptr<EVP_MAC_CTX, decltype(&EVP_MAC_CTX_free)> context(EVP_MAC_CTX_new(mac.get()),
                                                                    EVP_MAC_CTX_free);
  CLOISTER_CHECK(context != nullptr);
  char cipher[] = "AES-128-CBC";
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, cipher, 0),
                                   OSSL_PARAM_construct_end()};
  Key128Bytes out;
  size_t size = 0;
  CLOISTER_CHECK(EVP_MAC_init(context.get(), key.data(), key.size(), parameters) == 1);
  CLOISTER_CHECK(EVP_MAC_update(context.get(), data.data(), data.size()) == 1);
  CLOISTER_CHECK(EVP_MAC_final(context.get(), out.data(), &size, out.size()) == 1 && size == out.size());
  return out;
}

std::filesystem::path SimPlatform::default_folder() {
  if (const char* set = std::getenv("CLOISTER_SIM_STATE"); set != nullptr && *set != 0) return set;
  if (const char* state = std::getenv("XDG_STATE_HOME"); state != nullptr && *state != 0) {
    return std::filesystem::path(state) / "cloister" / "sim";
  }
  const char* home = std::getenv("HOME");
  return std::filesystem::path(home != nullptr ? home : "/") / ".local" / "state" / "cloister" / "sim";
}

Result<SimPlatform> SimPlatform::open(const std::filesystem::path& folder) {
  const std::filesystem::path place = folder.empty() ? default_folder() : folder;
  const std::filesystem::path path = place / "machine-secret";
  std::error_code error;
  if (std::filesystem::status(path, error).type() == std::filesystem::file_type::not_found) {
    TRY(make_private_folder(place));
    TRY(create_secret(path));
  }
  if (!owner_only(path)) {
    return Error(Code::Denied, path.string() + " can be read by others", "chmod 600 " + path.string());
  }
  const SecretBytes bytes = TRY(read_secret_file(path, 32));
  if (bytes.expose().size() != 32) return Error(Code::Malformed, path.string() + " is not 32 bytes");
  ByteArray<32> secret;
  std::memcpy(secret.data(), bytes.expose().data(), secret.size());
  SimPlatform platform(secret);
  wipe(secret.data(), secret.size());
  return platform;
}

SimPlatform::SimPlatform(const ByteArray<32>& secret) : secret_(secret) {}

ByteArray<32> SimPlatform::derive(std::string_view label) const {
  ByteArray<32> out;
  crypto::hkdf_sha256(secret_.expose(), {}, as_bytes(label), out);
  return out;
}

ByteArray<16> SimPlatform::cpu_svn() const {
  ByteArray<16> svn{};
  svn.fill(1);
  return svn;
}

Key128Bytes SimPlatform::derive_key(ByteView dependencies) const {
  Secret<ByteArray<32>> root(derive("cloister sim root key"));
  Key128Bytes key;
  std::memcpy(key.data(), root.expose().data(), key.size());
  const Key128Bytes out = aes_cmac(key, dependencies);
  wipe(key.data(), key.size());
  return out;
}

// SDM vol. 3D, EREPORT: key name, owner epoch, target's attributes, MRENCLAVE, MISCSELECT, CONFIGID,
// CONFIGSVN, key id, CPUSVN.
Key128Bytes SimPlatform::report_key(const TargetInfo& target, const ByteArray<32>& key_id) const {
  ByteWriter block;
  block.le(static_cast<uint16_t>(KeyName::Report)).bytes(object_bytes(target.attributes));
  block.bytes(target.mrenclave).le(target.misc_select).bytes(target.config_id).le(target.config_svn);
  block.bytes(key_id).bytes(cpu_svn());
  return derive_key(block.view());
}

Report SimPlatform::make_report(const Secs& self, const TargetInfo& target,
                                const ByteArray<64>& report_data) const {
  Report report{};
  const auto svn = cpu_svn();
  std::memcpy(report.body.cpu_svn, svn.data(), svn.size());
  report.body.misc_select = self.misc_select;
  report.body.attributes = self.attributes;
  std::memcpy(report.body.mrenclave, self.mrenclave, 32);
  std::memcpy(report.body.mrsigner, self.mrsigner, 32);
  std::memcpy(report.body.config_id, self.config_id, 64);
  report.body.isv_prod_id = self.isv_prod_id;
  report.body.isv_svn = self.isv_svn;
  report.body.config_svn = self.config_svn;
  std::memcpy(report.body.report_data, report_data.data(), report_data.size());
  const auto key_id = derive("cloister sim report key id");
  std::memcpy(report.key_id, key_id.data(), key_id.size());
  const auto mac = aes_cmac(report_key(target, key_id), object_bytes(report.body));
  std::memcpy(report.mac, mac.data(), mac.size());
  return report;
}

bool SimPlatform::check_report(const Report& report, const TargetInfo& target) const {
  ByteArray<32> key_id;
  std::memcpy(key_id.data(), report.key_id, key_id.size());
  const auto mac = aes_cmac(report_key(target, key_id), object_bytes(report.body));
  return equal_constant_time(mac, report.mac);
}

// SDM vol. 3D, EGETKEY, table "Key Derivation".
Result<Key128Bytes> SimPlatform::get_key(const Secs& self, const KeyRequest& request) const {
  const auto name = static_cast<KeyName>(request.key_name);
  if (name == KeyName::Report) {
    TargetInfo me{};
    std::memcpy(me.mrenclave, self.mrenclave, 32);
    me.attributes = self.attributes;
    me.misc_select = self.misc_select;
    me.config_svn = self.config_svn;
    std::memcpy(me.config_id, self.config_id, 64);
    ByteArray<32> key_id;
    std::memcpy(key_id.data(), request.key_id, key_id.size());
    return report_key(me, key_id);
  }
  if (name != KeyName::Seal) return Error(Code::Denied, "EGETKEY: only report and seal keys");
  if (request.isv_svn > self.isv_svn)
    return Error(Code::Denied, "EGETKEY: ISVSVN is higher than the enclave's");
  if ((request.key_policy & ~(kKeyPolicyMrEnclave | kKeyPolicyMrSigner)) != 0) {
    return Error(Code::Malformed, "EGETKEY: unknown key policy");
  }
  // INIT and DEBUG are always part of the key.
  const uint64_t flags_mask = request.attribute_mask.flags | kFlagInit | kFlagDebug;
  const ByteArray<32> zero{};
  const bool by_enclave = (request.key_policy & kKeyPolicyMrEnclave) != 0;
  const bool by_signer = (request.key_policy & kKeyPolicyMrSigner) != 0;
  ByteWriter block;
  block.le(request.key_name).le(self.isv_prod_id).le(request.isv_svn);
  block.le(self.attributes.flags & flags_mask).le(self.attributes.xfrm & request.attribute_mask.xfrm);
  block.le(request.attribute_mask.flags).le(request.attribute_mask.xfrm);
  block.bytes(by_enclave ? ByteView(self.mrenclave) : ByteView(zero));
  block.bytes(by_signer ? ByteView(self.mrsigner) : ByteView(zero));
  block.bytes(request.key_id).bytes(request.cpu_svn);
  block.le(self.misc_select & request.misc_mask).le(request.misc_mask).le(request.key_policy);
  return derive_key(block.view());
}

}  // namespace cloister::sgx
