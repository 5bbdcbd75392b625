#include "base/writer_lock.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

namespace cloister {
namespace {

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

bool same_file(int a, int b) {
  struct stat x {};
  struct stat y {};
  return ::fstat(a, &x) == 0 && ::fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

}  // namespace

bool WriterLock::take(int fd) {
  if (held_.valid() && same_file(held_.get(), fd)) return true;
  if (!lock_for_one_writer(fd)) return false;
  Descriptor own(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!own.valid()) return false;  // then the lock goes with `fd`
  held_ = std::move(own);
  return true;
}

}  // namespace cloister
