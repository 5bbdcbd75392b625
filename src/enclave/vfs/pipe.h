// Pipes and event counters: files that are not in a file system. Nothing of them leaves the enclave. Kernel
// lock held.
#pragma once

#include <utility>

#include "enclave/vfs/file.h"

namespace cloister::enclave {

// A pipe without its ends, for splice(2) and its relatives. Where the other side may wait, bytes are out of
// the pipe, or room is promised, for a while: the pipe counts both as its content.
class PipeContent : public Counted {
 public:
  // Takes what is there, up to the size of `out`, and waits for the first bytes; 0: no writer is left to
  // come.
  virtual SysResult<size_t> lend(MutableByteView out, bool non_blocking) = 0;
  // Of `lent` bytes, those that could not be used come back: to the front.
  virtual void give_back(ByteView rest, size_t lent) = 0;
  // Waits for room, and promises `most` bytes of it at most. Errors: Pipe, and SIGPIPE has been raised.
  virtual SysResult<size_t> promise(size_t most, bool non_blocking) = 0;
  // `promised` bytes of room are used by these, which are no more, or free again.
  virtual void fulfil(ByteView data, size_t promised) = 0;
  // splice(2) to another pipe or, if what is moved stays, too, tee(2).
  virtual SysResult<size_t> move_to(PipeContent& other, size_t most, bool non_blocking, bool stays) = 0;
};
class PipeEnd : public File {
 public:
  using File::File;
  PipeEnd* pipe() final { return this; }
  virtual Ref<PipeContent> reads_from() = 0;  // null: nothing
  virtual Ref<PipeContent> writes_to() = 0;
};

// {read end, write end}
std::pair<Ref<File>, Ref<File>> make_pipe(uint32_t flags);
// An end of the pipe that has this name; `fifo` is made at its first use. Waits for the other side, as flags
// say. Errors: NoDeviceAddress, nobody would read.
SysResult<Ref<File>> open_fifo(Ref<Counted>& fifo, const Ref<Inode>& name, uint32_t flags);
Ref<File> make_event_counter(uint64_t value, bool semaphore, uint32_t flags);

}  // namespace cloister::enclave
