#include "crypto/random.h"

#include <sys/random.h>

#include <cerrno>

namespace cloister::crypto {

void random_bytes(MutableByteView out) {
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t got = getrandom(out.data() + done, out.size() - done, 0);
    if (got < 0 && errno == EINTR) continue;
    CLOISTER_CHECK(got > 0);
    done += static_cast<size_t>(got);
  }
}

}  // namespace cloister::crypto
