// One writer of a file, on the host. Not for the kernel.
//
// The lock is on one byte far behind the end of the file, of the open file description (fcntl(2),
// F_OFD_SETLK): it goes with its process, children and other descriptors of the file do not drop it, and
// where a network file system makes locks binding (SMB) everybody can still read the file.
#pragma once

#include "base/descriptor.h"

namespace cloister {

class WriterLock {
 public:
  // Takes it for the file of `fd`, which is open for writing, and keeps a duplicate: the lock holds until
  // both are closed. Success for a file that it has already; another one takes the first one's place. False:
  // errno says why, EAGAIN that somebody else holds it. True without a lock where the system has no such
  // locks.
  bool take(int fd);

 private:
  Descriptor held_;
};

}  // namespace cloister
