// How the mount of a volume ended, told by the process that served it to the `unmount` that waits for it. It
// goes over a socket between the two and not through the volume's folder, whose owner need not be trusted.
#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

#include "base/socket.h"

namespace cloister::cli {

// What is mounted on a folder, as mountinfo(5) says it.
struct MountedVolume {
  std::string device;  // major:minor, of this mount only while it lasts
  std::string source;  // the volume's folder, as mountinfo writes it
  uid_t user = 0;      // who serves it
  bool read_only = false;
};
// `mountpoint`: absolute, without links. NotFound when no volume is mounted there.
Result<MountedVolume> volume_mounted_on(const std::string& mountpoint);

// The side that serves. Who asks waits in the backlog until there is something to tell; when this process is
// killed before, they notice.
class MountEnd {
 public:
  // From when it is mounted; a mount that only reads has nothing to tell. A failure is no reason not to
  // serve: it makes `unmount` say that it cannot know.
  void listen(const std::string& mountpoint);
  // When the kernel has let go of the mount, and before anybody else can open the volume for writing: who
  // asks from now on asks about another mount.
  void close();
  void tell(const Result<void>& end);

 private:
  Socket listener_;
  std::vector<Socket> askers_;
};

// The side that unmounts: asks before, listens afterwards.
class MountEndQuestion {
 public:
  explicit MountEndQuestion(const MountedVolume& mounted);
  // What the last commit failed with, said as what came of unmounting. Unavailable also when the process has
  // gone without a word, or says nothing until the deadline.
  Result<void> answer(Deadline deadline) const;

 private:
  Socket socket_;  // not open: nobody is there, or somebody else
};

}  // namespace cloister::cli
