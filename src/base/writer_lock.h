// One writer of a file, on the host. Not for the kernel.
//
// The lock is on one byte far behind the end of the file, of the open file description (fcntl(2),
// F_OFD_SETLK): it goes with its process, children and other descriptors of the file do not drop it, and
// where a network file system makes locks binding (SMB) everybody can still read the file.
#pragma once

namespace cloister {

// Takes it for as long as `fd`, open for writing, or a duplicate of it is open. False: errno says why, EAGAIN
// that somebody else holds it. True without a lock where the system has no such locks.
bool lock_for_one_writer(int fd);

}  // namespace cloister
