#include "base/writer_lock.h"

#include <fcntl.h>

#include <cerrno>

namespace cloister {

bool lock_for_one_writer(int fd) {
  struct flock range {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  range.l_start = off_t{1} << 62;
  range.l_len = 1;
  if (::fcntl(fd, F_OFD_SETLK, &range) == 0 || errno == EINVAL) return true;
  if (errno == EACCES) errno = EAGAIN;  // fcntl(2): either may say that it is held
  return false;
}

}  // namespace cloister
