#include "attestation/inspect.h"

// Every structure through every reader, whatever its signature: the first byte chooses the kind, 0xff lets it
// be recognised.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cloister::attestation;
  if (size == 0) return 0;
  const cloister::ByteView input(data + 1, size - 1);
  if (data[0] == 0xff) {
    const auto kind = recognise_structure(input);
    if (kind.ok()) static_cast<void>(inspect_structure(input, *kind).ok());
    return 0;
  }
  static_cast<void>(inspect_structure(input, static_cast<StructureKind>(data[0] % kStructureKinds)).ok());
  return 0;
}
