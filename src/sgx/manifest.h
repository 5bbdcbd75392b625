// The manifest: what an enclave image is allowed to be, in canonical bytes that the measurement covers.
// Grammar: docs/formats/image.md. One manifest has exactly one encoding; decode refuses every other.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "sgx/structures.h"

namespace cloister::sgx {

inline constexpr uint32_t kManifestVersion = 1;
inline constexpr uint64_t kMinHeap = 1u << 20;
inline constexpr uint64_t kMaxHeap = uint64_t{48} << 30;
inline constexpr uint64_t kMinStack = 64u << 10;
inline constexpr uint64_t kMaxStack = uint64_t{1} << 30;

// Whose enclaves derive the same seal key (SDM vol. 3D, EGETKEY): this very image, or every image of this
// signer with this ISVPRODID and no lower ISVSVN than the one that sealed.
enum class SealPolicy : uint8_t { MrEnclave = 1, MrSigner = 2 };

// An image that runs without a session. Nobody trustworthy can say at its start what it is to do, so all of
// it is measured: the host's environment is ignored, and of its arguments only those named by @@N enter.
struct Standalone {
  std::vector<std::string> arguments;  // behind the entry; "@@N" in them: the host's N-th argument, from 1
  std::string sealed_path;             // where the sealed volume is mounted; empty: there is none
  SealPolicy seal_policy = SealPolicy::MrEnclave;

  bool operator==(const Standalone&) const = default;
};

struct Manifest {
  std::string name;  // of the image; informative, measured
  uint64_t heap_size =
      64 << 20;  // bytes the program may have committed besides stacks; a limit, not a reservation
  uint64_t stack_size = 8 << 20;  // bytes of the program's first stack
  uint32_t threads = 8;           // TCSs, the agent's included
  bool debug = false;             // ATTRIBUTES.DEBUG: a debugger may read the enclave
  std::string entry;              // absolute path in the root volume
  std::vector<std::string>
      mounts;            // where a configuration may mount volumes; empty: any path but "/" and system ones
  ByteArray<32> root{};  // authenticated root volume (volume::Root)
  ByteArray<32> agent_sha256{};
  uint32_t protocol_version = 1;
  std::optional<Standalone> standalone;

  bool operator==(const Manifest&) const = default;
};

Bytes encode_manifest(const Manifest& manifest);
// Malformed with the field's name; limits: strings 4096 bytes, 64 mounts, 256 arguments.
Result<Manifest> decode_manifest(ByteView bytes);

}  // namespace cloister::sgx
