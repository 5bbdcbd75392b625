// Where the workloads of volume_workload.cpp run: a folder (of the host or a mounted file system) through
// system calls, or a volume through the library.
#pragma once

#include <memory>
#include <string>

#include "base/bytes.h"

namespace cloister::bench {

class Target {
 public:
  virtual ~Target() = default;
  // Files are numbered. Everything aborts on failure: a benchmark that fails measures nothing.
  virtual void create(int file) = 0;
  virtual void open(int file) = 0;  // the file that read, write and sync mean
  virtual void close() = 0;
  virtual void write(uint64_t offset, ByteView data) = 0;
  virtual void read(uint64_t offset, MutableByteView out) = 0;
  virtual void sync() = 0;  // fsync; in a library volume a commit that is acknowledged at once
  virtual void stat(int file) = 0;
  virtual void remove(int file) = 0;
  virtual void sync_all() = 0;  // at the end of a measurement: everything has left the caches of the target
};

std::unique_ptr<Target> folder_target(const std::string& folder);
// A volume in `folder`, made when it is not there; "" = in memory. The tag is kept in a file beside it.
std::unique_ptr<Target> library_target(const std::string& folder);

}  // namespace cloister::bench
