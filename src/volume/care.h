// Looking after volumes on the owner's machine: a survey of their structure, mending it, giving space back to
// the host, copying a volume into another one (under another key). Host only.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "volume/volume.h"

namespace cloister::volume {

struct Survey {
  uint64_t files = 0;
  uint64_t directories = 0;
  uint64_t symlinks = 0;
  uint64_t unlinked = 0;             // still stored, but without a name: were open when the last writer ended
  uint64_t blocks = 0;               // of volume.fspf
  uint64_t used_blocks = 0;          //
  uint64_t slots = 0;                // of all objects
  uint64_t used_slots = 0;           //
  std::vector<std::string> objects;  // names of all objects that files use, sorted
  std::vector<std::string> problems;
};

// Reads the metadata and compares what it says in two places: links with names, directories with their
// parents, sizes with chunks, and that no place is used twice. The content is verify_all's. An authentic
// volume with a problem was written by a faulty build or a hostile owner of the key. `volume` has no
// uncommitted changes.
Result<Survey> survey(Volume& volume);

// As Volume::open_newest_without_freshness() with OpenOptions::for_repair, but a newest state that is damaged
// opens, too, unless a loss of power may have cut its commit short.
Result<std::unique_ptr<Volume>> open_newest_for_repair(Storage& storage, const Key& key,
                                                       const OpenOptions& options);

struct Repaired {
  std::vector<std::string> mended;  // what was wrong and is right now
  std::vector<std::string> lost;    // what is no longer there, or can no longer be read
};
// For a volume that survey() or verify_all() find fault with, opened with OpenOptions::for_repair. Takes
// every record that a node still holds, wherever it stands, into a new tree and makes the records agree: of
// two for one thing the newer counts; records of files that do not exist go; files and directories without a
// name get one in /lost+found; chunks that are not what they must be become holes. The state before stays as
// it is until `publish` has stored the new tag. Encrypted volumes only (Unsupported).
Result<Repaired> repair(Volume& volume, const std::function<Result<void>(const Tag&)>& publish);

struct Compacted {
  uint64_t moved = 0;  // blocks that were written elsewhere
  uint64_t freed = 0;  // bytes given back to the host
};
// Moves what lies at the end of volume.fspf and of objects into gaps and cuts them. Commits several times;
// each time `publish` stores the new tag, durably, before the space of the state before is used again. At
// every moment the state that was published last opens. Encrypted volumes only (Unsupported).
Result<Compacted> compact(Volume& volume, const std::function<Result<void>(const Tag&)>& publish);

// Everything of `from` into the empty `to`: names, hard links, owners, permissions, times, attributes, holes.
// Does not commit. Memory use grows with the number of files that have several names only.
Result<void> copy_volume(Volume& from, Volume& to);

}  // namespace cloister::volume
