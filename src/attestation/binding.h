// What evidence is bound to. A quote proves which program runs somewhere; by itself it does not prove that
// this program is at the other end of this connection. So the 64 bytes of report data commit to everything
// that makes the conversation unique: both keys, the TLS exporter (equal only at the two ends of one
// connection), a fresh nonce, who plays which role, what is asked for. Evidence carried to another
// connection, another peer, another role or another session then has the wrong report data. Sources: RFC 9266
// (exporter); docs/formats/attest-protocol.md, "Binding" (with a test vector).
#pragma once

#include <string>

#include "base/bytes.h"
#include "crypto/sha256.h"

namespace cloister::attestation {

using ReportData = ByteArray<64>;
using Nonce = ByteArray<32>;

inline constexpr std::string_view kBindingLabel = "cloister-attest-v1";

// Whose evidence it is. Part of the hash, so evidence cannot be reflected to its maker.
enum class Role : uint8_t {
  Enclave = 1,  // an enclave that asks for its configuration
  Service = 2,  // a service that proves itself to whoever connects
};

struct Binding {
  Role role = Role::Enclave;
  Nonce nonce{};              // given by the verifier, used once
  ByteArray<32> exporter{};   // TLS exporter "EXPORTER-Channel-Binding", no context, 32 bytes
  crypto::Digest own_key{};   // SHA-256 of the SPKI of the evidence's maker
  crypto::Digest peer_key{};  // … of the verifier
  std::string subject;        // "session/service"
  crypto::Digest
      runtime_config_hash{};  // SHA-256 of what the runtime was started with (launch options that matter)
};

// SHA-512 over, in this order and each with a u32 little-endian length before it: label, role (one byte),
// nonce, exporter, own key hash, peer key hash, subject, runtime configuration hash.
ReportData report_data_for(const Binding& binding);

// Denied: `evidence` ("quote", "report") verified, and its report data is not what was expected. Says when it
// is bound to nothing at all; what else it was made for cannot be known from a hash.
Error other_report_data(std::string_view evidence, const ReportData& found);

// What makes the connection unique, for access proofs: SHA-256 over nonce, exporter, enclave's key hash and
// service's key hash, each with a u32 little-endian length before it.
crypto::Digest channel_hash(const Binding& of_enclave);

// A service access token is known to both ends, and neither tells it to the other, who may be somebody else:
// each shows this for its own role. HMAC-SHA-256 under the token over, each with a u32 little-endian length
// before it, "cloister-access-v1", role (one byte), channel hash, subject.
crypto::Digest access_proof(std::string_view token, Role role, const crypto::Digest& channel,
                            std::string_view subject);

// What a service's evidence must carry towards whoever sent `nonce` over a TLS connection to `service_key`.
// No exporter: the key never leaves the enclave that the evidence names, so whoever proves to have it is that
// enclave, on this connection and on every later one; that is what pinning the key needs.
// With it, where the service's journal stands, so that a client who comes again finds out one that was put
// back.
struct JournalPosition {
  uint64_t sequence = 0;       // of the newest entry
  crypto::Digest head{};       // its hash
  uint64_t seen = 0;           // an entry that the client asked for, 0: none
  crypto::Digest seen_hash{};  // its hash; zero when there is none
  bool operator==(const JournalPosition&) const = default;
};
ReportData service_report_data(const Nonce& nonce, const crypto::Digest& service_key,
                               const JournalPosition& position);

}  // namespace cloister::attestation
