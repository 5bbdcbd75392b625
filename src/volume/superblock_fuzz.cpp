// Superblocks, epoch pages, inode records and nodes from hostile bytes: parsing must neither crash nor read
// beyond.
#include "volume/format.h"
#include "volume/keys.h"

using namespace cloister;
using namespace cloister::volume;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView input(data, size);
  (void)parse_authenticated_superblock(input);
  (void)open_superblock(Key(), input);
  (void)decode_epoch_page(input);
  for (const Mode mode : {Mode::Encrypted, Mode::AuthenticatedOnly}) {
    const Result<InodeRecord> record = decode_inode(input, mode);
    // What parses must come out again as it went in.
    if (record.ok() && encode_inode(*record, mode).size() != size) __builtin_trap();
  }
  return 0;
}
