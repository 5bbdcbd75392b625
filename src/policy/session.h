// A session: what a data owner lets an enclave have, and on which conditions. The language is SCONE's session
// language 0.3 (0.2 is read), so that existing sessions and the tools that write them keep working;
// docs/formats/session.md says which keys mean what here.
//
// Parsing is strict: an unknown key, a wrong type or a reference to nothing is an error with its path, line
// and column, because a key that is silently ignored is a protection that somebody believes in. What the
// language has and this version does not is refused as Unsupported for the same reason.
#pragma once

#include <array>
#include <optional>

#include "attestation/verifier.h"
#include "base/secret.h"
#include "crypto/sha256.h"
#include "policy/yaml.h"

namespace cloister::policy {

// Limits of one session.
inline constexpr size_t kMaxSessionName = 512;    // bytes, with its namespaces
inline constexpr size_t kMaxNamePart = 128;       // bytes of a service, volume, image or secret name
inline constexpr size_t kMaxEntries = 1024;       // of services, volumes, images, secrets, each
inline constexpr size_t kMaxVariableName = 1024;  // bytes of an environment variable's name

struct SignerFactor {
  std::optional<ByteArray<32>> mrsigner;
  std::optional<uint16_t> isv_prod_id;
  std::optional<uint16_t> isv_svn, isv_svn_min, isv_svn_max;
};

// Of a confidential virtual machine (SEV-SNP). Lists: any of the values; empty: not a factor.
struct SnpFactor {
  std::vector<ByteArray<48>> measurements;  // never empty
  std::vector<ByteArray<32>> host_data;
  std::vector<ByteArray<48>> id_key_digests, author_key_digests;
  std::optional<attestation::SnpTcb> minimum_tcb;  // each number of the firmware at least this
  uint32_t vmpl = 0;                               // the least privileged level that may ask
  std::optional<uint64_t> guest_policy;            // exactly this
};

// Of a guest's policy (AMD SEV-SNP firmware ABI).
namespace snp_policy {
inline constexpr uint64_t kAlwaysOne = 1ull << 17;
inline constexpr uint64_t kMigrationAgent = 1ull << 18;
}  // namespace snp_policy

// What a TDX machine's report measures or names, 48 bytes each, by the keys of the language.
enum TdxRegister : size_t {
  kTdxMrtd,
  kTdxRtmr0,
  kTdxRtmr1,
  kTdxRtmr2,
  kTdxRtmr3,
  kTdxMrSeam,
  kTdxMrSignerSeam,
  kTdxMrConfigId,
  kTdxMrOwner,
  kTdxMrOwnerConfig,
  kTdxMrServiceTd,
  kTdxRegisterCount,
};
inline constexpr std::array<std::string_view, kTdxRegisterCount> kTdxRegisters = {
    "mrtd",         "rtmr0",      "rtmr1",   "rtmr2",         "rtmr3",      "mrseam",
    "mrsignerseam", "mrconfigid", "mrowner", "mrownerconfig", "mrservicetd"};

// Of a TDX machine.
struct TdxFactor {
  // By TdxRegister: any of the values; empty: not a factor. That of kTdxMrtd is never empty.
  std::array<std::vector<ByteArray<48>>, kTdxRegisterCount> registers;
  std::optional<uint64_t> td_attributes;  // exactly these
};

// All of its factors must hold. Either an enclave's (mrenclaves, signer) or a virtual machine's (snp, tdx).
struct AttestationVariant {
  std::vector<ByteArray<32>> mrenclaves;  // any of them; empty: not a factor
  std::optional<SignerFactor> signer;
  std::optional<SnpFactor> snp;
  std::optional<TdxFactor> tdx;
  bool of_machine() const { return snp || tdx; }
};

struct EnvironmentEntry {
  std::string name;
  std::string value;       // $$SCONE::NAME$$ not yet replaced
  bool from_host = false;  // \@\@NAME: the host's value, empty when it has none
};

struct Service {
  std::string name;
  Mark mark;
  std::string image_name;            // empty: none
  std::vector<std::string> command;  // $$SCONE::NAME$$ and @@N not yet replaced
  std::vector<EnvironmentEntry> environment;
  std::string pwd = "/";
  std::vector<AttestationVariant> attestation;  // any of them
  bool by_mrenclaves = false;                   // written with `mrenclaves`, which excludes `attestation`
  std::vector<ByteArray<16>> platforms;         // QE ids; empty: any
  std::string
      password_secret;  // one_time_password_shared_secret, base32 or a reference; empty: the session's

  // The value of `name` in the environment, empty when it is not there.
  std::string_view environment_value(std::string_view name) const;
};

enum class UpdatePolicy : uint8_t { RollbackProtected, Ephemeral, NoRollbackProtection };

struct Volume {
  std::string name;
  Mark mark;
  std::optional<Key256> key;         // given in the text
  std::string key_secret;            // or the name of a binary secret; both empty: made at the first use
  std::optional<ByteArray<16>> tag;  // with a key: the state to start from
  UpdatePolicy update_policy = UpdatePolicy::RollbackProtected;
  bool keyless() const { return !key && key_secret.empty(); }
};

struct ImageVolume {
  std::string name;
  std::string path;  // absolute, normalised
  std::optional<UpdatePolicy> update_policy;
};

struct InjectionFile {
  std::string path;     // absolute, normalised
  std::string content;  // $$SCONE::NAME$$ not yet replaced
  uint16_t mode = 0700;
};

struct Image {
  std::string name;
  std::vector<ImageVolume> volumes;
  std::vector<InjectionFile> injection_files;
};

enum class SecretKind : uint8_t { Ascii, Binary };

struct SecretSpec {
  std::string name;
  Mark mark;
  SecretKind kind = SecretKind::Ascii;
  uint32_t size = 20;          // characters or bytes, when made by the service
  std::optional<Bytes> value;  // given in the text
  bool export_public = false;  // readable by anybody
};

struct AccessEntry {
  enum class Kind : uint8_t { Creator, Any, None, Key };
  Kind kind = Kind::Creator;
  crypto::Digest key{};  // Key: SHA-256 of the SPKI
};

struct AccessPolicy {
  std::vector<AccessEntry> read = {AccessEntry{}};
  std::vector<AccessEntry> update = {AccessEntry{}};
  std::optional<std::vector<AccessEntry>> create_sessions;  // default: as `update`
};

enum class Toleration : uint8_t {
  DebugMode,
  Hyperthreading,
  InsecureIgpu,
  SoftwareHardeningNeeded,
  AepicLeak,
  InsecureConfiguration,
  OutdatedTcb,
  SimulationMode,
};
std::string_view toleration_name(Toleration toleration);
std::optional<Toleration> parse_toleration(std::string_view name);

struct Security {
  std::vector<Toleration> tolerate;
  std::vector<std::pair<std::string, Mark>>
      without_effect;                  // tolerations of evidence that is not accepted here
  bool ignore_all_advisories = false;  // "*"
  std::vector<std::string> ignore_advisories;
  std::optional<Mark> ignore_all_mark;
  std::string access_token;     // service_access_token, with placeholders; empty: none
  std::string password_secret;  // one_time_password_shared_secret, base32 or a reference; empty: none
  bool singleton_enclaves = false;
  bool tolerates(Toleration toleration) const;
};

struct Session {
  std::string name;
  Mark mark;
  std::string version;
  std::optional<ByteArray<32>> predecessor;
  std::vector<Service> services;
  std::vector<Volume> volumes;
  std::vector<Image> images;
  std::vector<SecretSpec> secrets;
  AccessPolicy access;
  bool names_creator = false;  // the text says CREATOR: then the hash depends on who uploads it
  Security security;
  std::string canonical;  // see session_hash

  // What one-time passwords of the service are made with; empty: it needs none.
  const std::string& password_secret_of(const Service& service) const {
    return service.password_secret.empty() ? security.password_secret : service.password_secret;
  }
  const Service* find_service(std::string_view service) const;
  const Image* find_image(std::string_view image) const;
  const Volume* find_volume(std::string_view volume) const;
  const SecretSpec* find_secret(std::string_view secret) const;
};

// Malformed: not the language (path, line, column). Unsupported: of the language, but not of this version.
Result<Session> parse_session(std::string_view text);

// `creator` is the SHA-256 of the uploader's SPKI; it enters the hash only if the session names CREATOR.
crypto::Digest session_hash(const Session& session, const crypto::Digest& creator);

// INTEL-SA- and five digits or more, as TCB info names them: what ignore_advisories takes.
bool is_advisory(std::string_view text);

// "a/b" is in the namespace "a"; "a" is in none.
std::string_view parent_namespace(std::string_view session_name);
bool is_session_name(std::string_view name);

}  // namespace cloister::policy
