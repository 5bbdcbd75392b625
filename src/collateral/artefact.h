// One piece of collateral, known by itself: TCB info, QE identity, the list of a PCK CA or the root's list.
// Each is verified alone, under its own chain, so that a cache can replace one without the others, and its
// life is what its signed content says. Bundles are put together from four of them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "attestation/verifier.h"

namespace cloister::collateral {

enum class ArtefactKind : uint8_t { TcbInfo, QeIdentity, PckCrl, RootCrl };

struct ArtefactKey {
  ArtefactKind kind = ArtefactKind::RootCrl;
  attestation::Tee tee = attestation::Tee::Sgx;  // TcbInfo, QeIdentity
  std::string variant;                           // TcbInfo: FMSPC in lower case; PckCrl: platform, processor
  auto operator<=>(const ArtefactKey&) const = default;

  // "sgx-tcb-00606a000000", "tdx-qe", "pckcrl-platform", "rootcrl"; also the file's name on disk.
  std::string name() const;
};
std::optional<ArtefactKey> parse_artefact_name(std::string_view name);

// What a service answered; nothing of it is verified.
struct RawArtefact {
  std::string body;          // JSON: exact bytes of the inner object; lists: DER
  Bytes signature;           // JSON only
  std::string issuer_chain;  // PEM; empty for the root's list
};

struct Artefact {
  ArtefactKey key;
  RawArtefact raw;
  int64_t issued = 0, expires = 0;  // seconds since 1970, both included
  uint32_t evaluation_number = 0;   // JSON only
};

// Signature, chain to an anchor, and that the content is what `key` asks for. Time is the caller's business.
// Malformed, Integrity.
Result<Artefact> verify_artefact(const ArtefactKey& key, RawArtefact raw,
                                 const std::vector<attestation::TrustAnchor>& anchors);

// The four of a bundle, verified. Lists that the bundle lacks are left out.
Result<std::vector<Artefact>> artefacts_of(const attestation::CollateralBundle& bundle,
                                           const std::vector<attestation::TrustAnchor>& anchors);

// One file: JSON with everything of RawArtefact. Reading verifies nothing.
std::string encode_artefact(const Artefact& artefact);
Result<RawArtefact> decode_artefact(std::string_view text);

}  // namespace cloister::collateral
