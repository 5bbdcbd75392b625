// The messages of the attestation protocol, as values and as bytes. One frame is: type (1 byte), size of the
// payload (u32, little-endian), payload. Each type has its own size limit, and a payload decodes only if it
// is complete, within limits and without left-over bytes: there is one encoding per value.
// docs/formats/attest-protocol.md gives the layout of each.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "attestation/binding.h"
#include "base/secret.h"

namespace cloister::attestation {

inline constexpr uint16_t kProtocolVersion = 1;

inline constexpr size_t kMaxSubject = 512;  // "session/service"
inline constexpr size_t kMaxOneTimePassword = 256;
inline constexpr size_t kMaxHostArguments = 1024;     // entries
inline constexpr size_t kMaxHostArgument = 16 << 10;  // bytes of one
inline constexpr size_t kMaxQuote = 64 << 10;
inline constexpr size_t kMaxCollateral = 1 << 20;
inline constexpr size_t kMaxSnpPaper = 256 << 10;  // bytes of each
inline constexpr size_t kMaxConfiguration = 24 << 20;
inline constexpr size_t kMaxTagUpdates = 64;
inline constexpr size_t kMaxVolumeName = 255;
inline constexpr size_t kMaxDenialText = 512;

enum class MessageType : uint8_t {
  ServerHello = 1,    // service → enclave, first
  AttestRequest = 2,  // enclave → service
  Released = 3,       // service → enclave: the configuration
  Denied = 4,         // service → enclave: no; the connection ends
  Resume = 5,         // enclave → service instead of AttestRequest: an instance that attested before
  TagUpdate = 6,      // enclave → service
  ExitNotice = 7,     // enclave → service
  Reply = 8,          // service → enclave: answers Resume, TagUpdate, ExitNotice
};

// The largest payload of a type; 0 for an unknown one.
size_t payload_limit(uint8_t type);

enum class EvidenceKind : uint8_t { SgxDcapQuote = 1, SnpReport = 2, TdxQuote = 3 };

// Why not. The enclave learns only the code and a short text; the session's owner learns the rest.
enum class DenialCode : uint16_t {
  None = 0,  // in a Reply: done
  VersionUnsupported = 1,
  Malformed = 2,
  NonceInvalid = 3,     // unknown, used or expired
  EvidenceInvalid = 4,  // signature, chain, revocation, collateral
  BindingMismatch = 5,  // genuine evidence, but not for this connection, role or session
  PolicyRefused = 6,    // the session does not allow it (or does not exist)
  Busy = 7,             // try again later
  TagRefused = 8,       // previous tag unknown or not the newest: a fork or a replay
  LeaseLost = 9,        // another instance writes now
  Internal = 10,
};
std::string_view denial_name(DenialCode code);

struct ServerHello {
  uint16_t version = kProtocolVersion;
  Nonce nonce{};
  uint32_t nonce_lifetime_ms = 0;
  uint32_t evidence_kinds = 0;  // bit n: EvidenceKind n is accepted
  bool operator==(const ServerHello&) const = default;
};

struct AttestRequest {
  uint16_t version = kProtocolVersion;
  Role role = Role::Enclave;
  EvidenceKind kind = EvidenceKind::SgxDcapQuote;
  Nonce nonce{};
  std::string subject;                         // "session/service", without the one-time password
  std::string one_time_password;               // empty: none
  std::optional<crypto::Digest> access_proof;  // of the service access token (binding.h), when there is one
  std::vector<std::string> host_arguments;     // for @@N; untrusted, as the host gave them
  Bytes quote;                                 // SnpReport: the report
  Bytes
      collateral;  // as the LAS attached it; the verifier decides whether to look at it. SnpReport: SnpPapers
};

// What goes with an SEV-SNP report: its key's certificate, that one's issuers, and their list (verify_snp.h).
struct SnpPapers {
  Bytes leaf, chain, crl;
};

// Both ends compute it from the request, so that the evidence commits to everything the host supplied:
// SHA-256 over label "cloister-runtime-v1", protocol version (u16), one-time password, access proof and each
// host argument, each with a u32 little-endian length before it.
crypto::Digest runtime_config_hash(const AttestRequest& request);

struct Released {
  ByteArray<16> instance_id{};
  uint32_t lease_seconds = 0;                  // 0: as long as the connection or a resumed one lives
  std::optional<crypto::Digest> access_proof;  // the service's, when the session has a token
  SecretBytes configuration;                   // boundary::EnclaveConfig, opaque here
};

struct Denial {
  DenialCode code = DenialCode::Internal;
  std::string text;
};

struct Resume {
  uint16_t version = kProtocolVersion;
  ByteArray<16> instance_id{};
};

struct TagUpdate {
  std::string volume;
  ByteArray<16> previous{};  // zero: the volume was just created
  ByteArray<16> next{};
  uint64_t epoch = 0;  // of the writer's lease, from the configuration
  bool operator==(const TagUpdate&) const = default;
};

struct TagBatch {
  uint64_t sequence = 0;           // chosen by the enclave, repeated in the Reply
  std::vector<TagUpdate> updates;  // 1 to kMaxTagUpdates, volumes unique; all or nothing
};

struct ExitNotice {
  uint64_t sequence = 0;
  int32_t status = 0;
};

struct Reply {
  uint64_t sequence = 0;  // of the TagBatch or ExitNotice; 0 for Resume
  DenialCode code = DenialCode::None;
  std::string text;  // empty when code is None
};

Bytes encode(const ServerHello& message);
Bytes encode(const AttestRequest& message);
Bytes encode(const SnpPapers& papers);
SecretBytes encode(const Released& message);
Bytes encode(const Denial& message);
Bytes encode(const Resume& message);
Bytes encode(const TagBatch& message);
Bytes encode(const ExitNotice& message);
Bytes encode(const Reply& message);

// Malformed for anything that `encode` would not produce. Versions are not judged here.
Result<ServerHello> decode_server_hello(ByteView payload);
Result<AttestRequest> decode_attest_request(ByteView payload);
Result<SnpPapers> decode_snp_papers(ByteView bytes);
Result<Released> decode_released(ByteView payload);
Result<Denial> decode_denial(ByteView payload);
Result<Resume> decode_resume(ByteView payload);
Result<TagBatch> decode_tag_batch(ByteView payload);
Result<ExitNotice> decode_exit_notice(ByteView payload);
Result<Reply> decode_reply(ByteView payload);

}  // namespace cloister::attestation
