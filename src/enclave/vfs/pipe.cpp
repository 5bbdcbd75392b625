#include "enclave/vfs/pipe.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "enclave/arch/signal.h"
#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"

namespace cloister::enclave {
namespace {

constexpr size_t kFirstCapacity = 65536, kMostCapacity = 1 << 20;  // pipe(7)
constexpr size_t kAtomic = 4096;                                   // PIPE_BUF: smaller writes are not split

// One direction: a ring of bytes with ends that open and close. A pipe has two; one with a name (fifo(7)) any
// number.
struct Channel final : PipeContent {
  struct Side {
    std::vector<File*> ends;
    uint64_t times_opened = 0;
    bool closed() const { return ends.empty(); }
    void edge(uint16_t bits) {
      for (File* end : ends) end->edge(bits);
    }
  };
  Bytes ring;  // as large as its content made it, up to the capacity
  size_t capacity = kFirstCapacity;
  size_t first = 0, used = 0;
  size_t lent = 0;  // PipeEnd: out of the ring for now, or promised
  WaitQueue readable, writable;
  WaitQueue opened;
  WaitQueue poll;  // either changed
  Side reading, writing;

  void changed() {
    readable.wake_all();
    writable.wake_all();
    poll.wake_all();
  }
  void enter(Side& side, File& end) {
    side.ends.push_back(&end);
    ++side.times_opened;
    opened.wake_all();
  }
  void leave(Side& side, Side& other, File& end) {
    std::erase(side.ends, &end);
    changed();
    if (side.closed()) other.edge(0);
    if (!side.closed() || !other.closed()) return;
    ring = {};  // nobody will read what is left
    first = used = 0;
    capacity = kFirstCapacity;
  }
  size_t room() const { return capacity - std::min(capacity, used + lent); }
  bool has_room() const { return room() >= kAtomic; }
  void relocate(Bytes fresh) {
    const size_t part = std::min(used, ring.size() - first);
    std::copy_n(ring.begin() + static_cast<ptrdiff_t>(first), part, fresh.begin());
    std::copy_n(ring.begin(), used - part, fresh.begin() + static_cast<ptrdiff_t>(part));
    ring = std::move(fresh);
    first = 0;
  }

  // How much is there; 0: no writer is left to come.
  SysResult<size_t> wait_for_content(bool non_blocking) {
    while (used == 0) {
      if (writing.closed()) return size_t{0};
      if (non_blocking) return Errno::Again;
      if (readable.wait() == WaitEnd::Interrupted) return kInterruptedRestartable;
    }
    return used;
  }
  SysResult<size_t> wait_for_room(bool non_blocking) {
    for (;;) {
      if (reading.closed()) {
        raise_signal(kSigPipe);
        return Errno::Pipe;
      }
      if (room() > 0) return room();
      if (non_blocking) return Errno::Again;
      if (writable.wait() == WaitEnd::Interrupted) return kInterruptedRestartable;
    }
  }
  void copy_first(MutableByteView out) const {  // no more than is there
    const size_t part = std::min(out.size(), ring.size() - first);
    std::memcpy(out.data(), ring.data() + first, part);
    std::memcpy(out.data() + part, ring.data(), out.size() - part);
  }
  // As Linux: whoever writes is told when a full pipe is not full any more, whoever reads at every write.
  void drop_first(size_t count, bool was_full) {
    first = (first + count) % ring.size();
    used -= count;
    changed();
    if (was_full && has_room()) writing.edge(kPollOut);
  }
  void put_first(ByteView rest) {
    if (used + rest.size() > ring.size())
      relocate(Bytes(std::bit_ceil(std::max(used + rest.size(), kAtomic))));
    first = (first + ring.size() - rest.size()) % ring.size();
    const size_t part = std::min(rest.size(), ring.size() - first);
    std::memcpy(ring.data() + first, rest.data(), part);
    std::memcpy(ring.data(), rest.data() + part, rest.size() - part);
    used += rest.size();
  }
  void append(ByteView data) {  // which has room
    if (used + data.size() > ring.size())
      relocate(Bytes(std::bit_ceil(std::max(used + data.size(), kAtomic))));
    const size_t at = (first + used) % ring.size(), part = std::min(data.size(), ring.size() - at);
    std::memcpy(ring.data() + at, data.data(), part);
    std::memcpy(ring.data(), data.data() + part, data.size() - part);
    used += data.size();
    changed();
    reading.edge(kPollIn);
  }

  SysResult<size_t> read(MutableByteView out, bool non_blocking) {
    if (out.empty()) return size_t{0};
    const size_t count = std::min(TRY(wait_for_content(non_blocking)), out.size());
    if (count == 0) return count;
    const bool was_full = !has_room();
    copy_first(out.first(count));
    drop_first(count, was_full);
    return count;
  }

  // Of what was just read.
  void unread(ByteView rest) {
    if (rest.empty()) return;
    put_first(rest);
    changed();
  }

  SysResult<size_t> lend(MutableByteView out, bool non_blocking) override {
    const size_t count = std::min(TRY(wait_for_content(non_blocking)), out.size());
    if (count == 0) return count;
    copy_first(out.first(count));
    lent += count;
    drop_first(count, false);  // there is no more room than before
    return count;
  }
  void give_back(ByteView rest, size_t count) override {
    const bool was_full = !has_room();
    lent -= count;
    if (!rest.empty()) put_first(rest);
    changed();
    if (!rest.empty()) reading.edge(kPollIn);
    if (was_full && has_room()) writing.edge(kPollOut);
  }
  SysResult<size_t> promise(size_t most, bool non_blocking) override {
    const size_t count = std::min(most, TRY(wait_for_room(non_blocking)));
    lent += count;
    return count;
  }
  void fulfil(ByteView data, size_t promised) override {
    const bool was_full = !has_room();
    lent -= promised;
    if (!reading.closed() && !data.empty()) append(data);  // else nobody is left to read it
    changed();
    if (was_full && has_room()) writing.edge(kPollOut);
  }
  SysResult<size_t> move_to(PipeContent& other, size_t most, bool non_blocking, bool stays) override {
    auto& target = static_cast<Channel&>(other);  // the only kind
    for (;;) {
      if (TRY(wait_for_content(non_blocking)) == 0) return size_t{0};
      const size_t left = TRY(target.wait_for_room(non_blocking));
      const size_t count = std::min({left, used, most});
      if (count == 0) continue;  // it went while this waited for room
      Bytes bytes(count);
      const bool was_full = !has_room();
      copy_first(bytes);
      if (!stays) drop_first(count, was_full);
      target.append(bytes);
      return count;
    }
  }

  // fcntl(2), F_SETPIPE_SZ.
  SysResult<size_t> resize(size_t wanted) {
    if (wanted > kMostCapacity) return Errno::Perm;
    wanted = std::bit_ceil(std::max(wanted, kAtomic));
    if (wanted < used + lent) return Errno::Busy;
    if (wanted < ring.size()) relocate(Bytes(wanted));
    capacity = wanted;
    changed();
    return capacity;
  }

  SysResult<size_t> write(ByteView data, bool non_blocking) {
    size_t done = 0;
    while (done < data.size()) {
      if (reading.closed()) {
        raise_signal(kSigPipe);  // whatever was written before, unlike a socket
        return done > 0 ? SysResult<size_t>(done) : Errno::Pipe;
      }
      const size_t wanted = data.size() <= kAtomic ? data.size() : 1;
      if (room() < wanted) {
        if (non_blocking) return done > 0 ? SysResult<size_t>(done) : Errno::Again;
        if (writable.wait() == WaitEnd::Interrupted)
          return done > 0 ? SysResult<size_t>(done) : kInterruptedRestartable;
        continue;
      }
      const size_t part = std::min(room(), data.size() - done);
      append(data.subspan(done, part));
      done += part;
    }
    return done;
  }
};

class End final : public PipeEnd {
 public:
  // One of the channels is null, unless it is of a name that was opened for both.
  End(Ref<Channel> in, Ref<Channel> out, uint32_t flags, Ref<Inode> name = nullptr)
      : PipeEnd(flags), in_(std::move(in)), out_(std::move(out)), name_(std::move(name)) {
    if (in_) in_->enter(in_->reading, *this);
    if (out_) out_->enter(out_->writing, *this);
  }
  ~End() override { static_cast<void>(closed()); }

  SysResult<size_t> read(MutableByteView out) override {
    if (!in_) return Errno::BadFile;
    return in_->read(out, non_blocking());
  }
  void unread(ByteView rest) override { in_->unread(rest); }
  SysResult<size_t> write(ByteView data) override {
    if (!out_) return Errno::BadFile;
    return out_->write(data, non_blocking());
  }
  Ref<PipeContent> reads_from() override { return in_; }
  Ref<PipeContent> writes_to() override { return out_; }
  SysResult<Stat> stat() override {
    if (name_) return name_->stat();
    Stat stat;
    stat.device = 4;
    stat.inode = reinterpret_cast<uint64_t>(in_ ? in_.get() : out_.get()) >> 4;
    stat.mode = kTypeFifo | 0600;
    return stat;
  }
  SysResult<int64_t> ioctl(uint64_t request, uint64_t argument) override {
    if (request != kBytesWaiting || !in_) return Errno::NotTty;
    TRY(store_user(argument, static_cast<int32_t>(in_->used)));
    return 0;
  }
  bool can_tell_owner() override { return true; }
  SysResult<Ref<File>> open_again(uint32_t flags) override {
    const Ref<Channel> channel = in_ ? in_ : out_;
    if (name_) {
      Ref<Counted> fifo = channel;
      return open_fifo(fifo, name_, flags);
    }
    const bool reads = (flags & kOpenAccess) != kOpenWrite, writes = (flags & kOpenAccess) != 0;
    return Ref<File>(make_ref<End>(reads ? channel : nullptr, writes ? channel : nullptr, flags & kOpenKept));
  }
  SysResult<size_t> pipe_size(size_t wanted) override {
    Channel& channel = in_ ? *in_ : *out_;
    if (wanted != 0) return channel.resize(wanted);
    return channel.capacity;
  }
  uint16_t ready() override {
    uint16_t events = 0;
    if (in_) {
      if (in_->used > 0) events |= kPollIn;
      if (in_->writing.closed() && in_->writing.times_opened != quiet_until_) events |= kPollHangup;
    }
    if (out_) {
      if (out_->reading.closed()) events |= kPollError;
      if (out_->has_room()) events |= kPollOut;
    }
    return events;
  }
  void poll_queues(std::vector<WaitQueue*>& queues) override {
    if (in_) queues.push_back(&in_->poll);
    if (out_) queues.push_back(&out_->poll);
  }
  SysResult<void> closed() override {
    if (in_) in_->leave(in_->reading, in_->writing, *this);
    if (out_) out_->leave(out_->writing, out_->reading, *this);
    in_ = out_ = nullptr;
    return {};
  }
  // No hang-up before the first writer has come.
  void wait_quietly() { quiet_until_ = in_->writing.times_opened; }

 private:
  Ref<Channel> in_, out_;
  Ref<Inode> name_;
  uint64_t quiet_until_ = UINT64_MAX;
};

class EventCounter final : public WaitFile {
 public:
  EventCounter(uint64_t value, bool semaphore, uint32_t flags)
      : WaitFile(flags | kOpenReadWrite), value_(value), semaphore_(semaphore) {}

  SysResult<size_t> read(MutableByteView out) override {
    if (out.size() < sizeof(value_)) return Errno::Invalid;
    while (value_ == 0) {
      if (non_blocking()) return Errno::Again;
      if (queue_.wait() == WaitEnd::Interrupted) return kInterruptedRestartable;
    }
    const uint64_t taken = semaphore_ ? 1 : value_;
    value_ -= taken;
    queue_.wake_all();
    edge(kPollOut);
    std::memcpy(out.data(), &taken, sizeof(taken));
    return sizeof(taken);
  }
  SysResult<size_t> write(ByteView data) override {
    uint64_t more = 0;
    if (data.size() < sizeof(more)) return Errno::Invalid;
    std::memcpy(&more, data.data(), sizeof(more));
    if (more == UINT64_MAX) return Errno::Invalid;
    while (more > UINT64_MAX - 1 - value_) {
      if (non_blocking()) return Errno::Again;
      if (queue_.wait() == WaitEnd::Interrupted) return kInterruptedRestartable;
    }
    value_ += more;
    queue_.wake_all();
    edge(kPollIn);
    return sizeof(more);
  }
  uint16_t ready() override {
    return static_cast<uint16_t>((value_ > 0 ? kPollIn : 0) | (value_ < UINT64_MAX - 1 ? kPollOut : 0));
  }
  void poll_queues(std::vector<WaitQueue*>& queues) override { queues.push_back(&queue_); }

 private:
  uint64_t value_;
  bool semaphore_;
  WaitQueue queue_;
};

}  // namespace

std::pair<Ref<File>, Ref<File>> make_pipe(uint32_t flags) {
  const Ref<Channel> channel = make_ref<Channel>();
  return {make_ref<End>(channel, nullptr, flags), make_ref<End>(nullptr, channel, flags | kOpenWrite)};
}

SysResult<Ref<File>> open_fifo(Ref<Counted>& fifo, const Ref<Inode>& name, uint32_t flags) {
  if (!fifo) fifo = make_ref<Channel>();
  const Ref<Channel> channel(static_cast<Channel*>(fifo.get()));
  const bool reads = (flags & kOpenAccess) != kOpenWrite, writes = (flags & kOpenAccess) != 0;
  const bool waits = reads != writes && (flags & kOpenNonBlock) == 0;
  if (writes && !reads && !waits && channel->reading.closed()) return Errno::NoDeviceAddress;
  const auto end =
      make_ref<End>(reads ? channel : nullptr, writes ? channel : nullptr, flags & kOpenKept, name);
  if (reads && channel->writing.closed()) end->wait_quietly();
  const Channel::Side& partner = reads ? channel->writing : channel->reading;
  const uint64_t before = partner.times_opened;  // it may come and go again
  while (waits && partner.closed() && partner.times_opened == before) {
    if (channel->opened.wait() == WaitEnd::Interrupted) return kInterruptedRestartable;
  }
  return Ref<File>(end);
}

Ref<File> make_event_counter(uint64_t value, bool semaphore, uint32_t flags) {
  return make_ref<EventCounter>(value, semaphore, flags);
}

}  // namespace cloister::enclave
