#include "enclave/vfs/unix_socket.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "enclave/arch/thread.h"
#include "enclave/arch/user_copy.h"
#include "enclave/process.h"
#include "enclave/vfs/inotify.h"
#include "enclave/vfs/interfaces.h"
#include "enclave/vfs/mounts.h"
#include "enclave/vfs/vfs.h"

namespace cloister::enclave {
namespace {

constexpr size_t kPathOffset = 2;  // of sun_path
constexpr size_t kMaxBacklog = 4096;
constexpr auto kReset = static_cast<int32_t>(Errno::ConnectionReset);

std::map<std::string, UnixSocket*> g_names;

Credentials own_credentials() {
  const Process& process = *current().process;
  return {process.pid, process.user.effective, process.group.effective};
}

Bytes unnamed_address() {
  const uint16_t family = kFamilyUnix;
  Bytes bytes(sizeof(family));
  std::memcpy(bytes.data(), &family, sizeof(family));
  return bytes;
}

std::string inode_key(const Stat& stat) {
  return "i" + std::to_string(stat.device) + ":" + std::to_string(stat.inode);
}

std::string path_of(ByteView address) {
  const std::string_view text = as_text(address.subspan(kPathOffset));
  return std::string(text.substr(0, text.find('\0')));
}
bool is_abstract(ByteView address) { return address.size() > kPathOffset && address[kPathOffset] == 0; }
std::string abstract_key(ByteView address) {
  return "a" + std::string(as_text(address.subspan(kPathOffset)));
}

SysResult<void> check_address(ByteView address) {
  constexpr size_t kMost = 110;  // sizeof(struct sockaddr_un)
  uint16_t family = 0;
  if (address.size() < sizeof(family) || address.size() > kMost) return Errno::Invalid;
  std::memcpy(&family, address.data(), sizeof(family));
  return family == kFamilyUnix ? SysResult<void>() : Errno::Invalid;
}

SysResult<UnixSocket*> find_named(Process& process, ByteView address) {
  TRY(check_address(address));
  if (address.size() == kPathOffset) return Errno::Invalid;
  std::string key;
  if (is_abstract(address)) {
    key = abstract_key(address);
  } else {
    const Place place = TRY(resolve_existing(process, kAtCwd, path_of(address), LastLink::Follow));
    const Stat stat = TRY(place.inode->stat());
    if ((stat.mode & kTypeMask) != kTypeSocket) return Errno::ConnectionRefused;
    key = inode_key(stat);
  }
  const auto found = g_names.find(key);
  if (found == g_names.end()) return Errno::ConnectionRefused;
  return found->second;
}

// Options for networks, which Linux, too, takes from every socket; there is none here.
bool without_effect(int32_t name) {
  constexpr int32_t kNames[] = {1, 2, 5, 6, 9, 10, 11, 12, 13, 14};  // SO_DEBUG … SO_PRIORITY, SO_LINGER
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

// socket(7): doubled, between a least size and net.core.wmem_max.
int32_t as_buffer_size(int32_t wanted) {
  constexpr uint32_t kMost = 212992, kLeast = 4608;
  return static_cast<int32_t>(std::max(kLeast, std::min(static_cast<uint32_t>(wanted), kMost) * 2));
}

}  // namespace

UnixSocket::UnixSocket(uint32_t type, uint32_t flags)
    : Socket(kFamilyUnix, type, flags), name_(unnamed_address()) {}

void UnixSocket::connect_pair(UnixSocket& a, UnixSocket& b) {
  a.peer_ = &b;
  b.peer_ = &a;
  a.was_connected_ = b.was_connected_ = true;
  a.peer_credentials_ = b.peer_credentials_ = own_credentials();
}

void UnixSocket::changed(uint16_t bits) {
  changed_.wake_all();
  edge(bits);
}

// Whoever sends to us has room again.
void UnixSocket::tell_senders() {
  if (!roomy()) return;
  if (connection_oriented()) {
    if (peer_ != nullptr) peer_->edge(kPollOut);
  } else {
    for (UnixSocket* sender : senders_) sender->edge(kPollOut);
  }
}

SysResult<void> UnixSocket::closed() {
  if (!key_.empty()) g_names.erase(key_);
  key_.clear();
  for (const Ref<UnixSocket>& embryo : std::exchange(pending_, {}))
    if (embryo->peer_ != nullptr) embryo->peer_->error_ = kReset;
  listening_ = false;
  if (peer_ != nullptr) {
    UnixSocket& peer = *std::exchange(peer_, nullptr);
    // What the peer had sent is lost.
    if (connection_oriented() && !queue_.empty()) peer.error_ = kReset;
    std::erase(peer.senders_, this);
    if (peer.peer_ == this) peer.peer_ = nullptr;
    peer.changed(0);
  }
  for (UnixSocket* sender : std::exchange(senders_, {})) {
    if (sender->peer_ == this) {
      sender->peer_ = nullptr;
      sender->refused_ = true;
    }
    sender->changed(0);
  }
  queue_.clear();
  queued_ = 0;
  changed(0);
  return {};
}

SysResult<void> UnixSocket::bind(Process& process, ByteView address) {
  TRY(check_address(address));
  if (!key_.empty() && (address.size() == kPathOffset || is_abstract(address))) return Errno::Invalid;
  Bytes name(address.begin(), address.end());
  if (address.size() == kPathOffset) {  // autobind: any abstract name
    static uint32_t number = 0;
    char text[6] = {0};
    const char* digits = "0123456789abcdef";
    uint32_t value = number++;
    for (int i = 5; i > 0; --i, value >>= 4) text[i] = digits[value & 15];
    name.insert(name.end(), text, text + sizeof(text));
  }
  if (is_abstract(name)) {
    const std::string key = abstract_key(name);
    if (!g_names.emplace(key, this).second) return Errno::AddressInUse;
    key_ = key;
  } else {
    const Place place = TRY(resolve(process, kAtCwd, path_of(name), LastLink::Keep));
    if (place.inode) return Errno::AddressInUse;
    if (!key_.empty()) return Errno::Invalid;
    if (mount_read_only(place.path)) return Errno::ReadOnly;
    const Ref<Inode> inode = TRY(place.parent->create(place.name, kTypeSocket | (0777 & ~process.umask)));
    notify_created(*place.parent, place.name, false);
    key_ = inode_key(TRY(inode->stat()));
    g_names[key_] = this;
    name.resize(kPathOffset + path_of(name).size() + 1);  // with its NUL, as Linux reports it
    name.back() = 0;
  }
  name_ = std::move(name);
  return {};
}

SysResult<void> UnixSocket::listen(int32_t backlog) {
  if (!connection_oriented()) return Errno::NotSupported;
  if (key_.empty()) return Errno::Invalid;
  if (was_connected_) return Errno::Invalid;
  listening_ = true;
  backlog_ = std::min<size_t>(backlog < 0 ? kMaxBacklog : static_cast<size_t>(backlog), kMaxBacklog);
  peer_credentials_ = own_credentials();
  return {};
}

// Datagrams: another peer or none, which may have the room that the last one had not. What came from the last
// one is lost.
void UnixSocket::send_to(UnixSocket* target) {
  if (peer_ != nullptr && peer_ != target && !queue_.empty()) {
    queue_.clear();
    queued_ = 0;
    tell_senders();
  }
  const bool had_room = peer_ == nullptr || peer_->roomy();
  if (peer_ != nullptr) std::erase(peer_->senders_, this);
  peer_ = target;
  if (target != nullptr) target->senders_.push_back(this);
  changed_.wake_all();  // pollers wait for the peer, too
  if (!had_room && (target == nullptr || target->roomy())) edge(kPollOut);
}

SysResult<void> UnixSocket::connect(Process& process, ByteView address) {
  uint16_t family = 0;
  if (address.size() >= sizeof(family)) std::memcpy(&family, address.data(), sizeof(family));
  if (!connection_oriented() && family == 0) {
    send_to(nullptr);
    return {};
  }
  UnixSocket* target = TRY(find_named(process, address));
  if (target->type() != type()) return Errno::Prototype;
  if (!connection_oriented()) {
    if (!target->hears(*this)) return Errno::Perm;
    send_to(target);
    return {};
  }
  if (was_connected_) return Errno::IsConnected;
  if (listening_) return Errno::Invalid;
  const Ref<UnixSocket> kept(target);  // it may be closed while we wait
  while (target->pending_.size() > target->backlog_) {
    if (!target->listening_) return Errno::ConnectionRefused;
    if (non_blocking()) return Errno::Again;
    const WaitEnd end = target->changed_.wait(send_deadline());
    if (end == WaitEnd::Interrupted) return kInterruptedRestartable;
    if (end == WaitEnd::TimedOut) return Errno::Again;
  }
  if (!target->listening_) return Errno::ConnectionRefused;
  const Ref<UnixSocket> server = make_ref<UnixSocket>(type(), 0);
  connect_pair(*this, *server);
  peer_credentials_ = target->peer_credentials_;
  server->name_ = target->name_;
  server->pass_credentials_ = target->pass_credentials_;
  target->pending_.push_back(server);
  target->changed(kPollIn);
  return {};
}

SysResult<Ref<File>> UnixSocket::accept(uint32_t flags, Bytes& peer) {
  if (!connection_oriented()) return Errno::NotSupported;
  if (!listening_) return Errno::Invalid;
  while (pending_.empty()) {
    if (non_blocking()) return Errno::Again;
    const WaitEnd end = changed_.wait(receive_deadline());
    if (end == WaitEnd::Interrupted) return kInterruptedRestartable;
    if (end == WaitEnd::TimedOut) return Errno::Again;
    if (!listening_) return Errno::Invalid;
  }
  const Ref<UnixSocket> accepted = std::move(pending_.front());
  pending_.pop_front();
  if ((flags & kOpenNonBlock) != 0) accepted->set_status_flags(kOpenNonBlock);
  peer = accepted->peer_ == nullptr ? unnamed_address() : accepted->peer_->name_;
  changed_.wake_all();
  return Ref<File>(accepted);
}

// Whether this becomes part of the newest message.
bool UnixSocket::joins(size_t size, const SentFiles& files) const {
  constexpr size_t kJoined = 64 << 10;
  return is_stream() && files.empty() && !queue_.empty() && queue_.back().files.empty() &&
         queue_.back().credentials == own_credentials() && queue_.back().data.size() + size <= kJoined;
}

void UnixSocket::enqueue(ByteView data, ByteView from, SentFiles files) {
  if (joins(data.size(), files)) {
    queue_.back().data.insert(queue_.back().data.end(), data.begin(), data.end());
  } else {
    Message message;
    message.data.assign(data.begin(), data.end());
    message.address.assign(from.begin(), from.end());
    message.credentials = own_credentials();
    message.files = std::move(files);
    queue_.push_back(std::move(message));
  }
  queued_ += data.size();
  changed(kPollIn);
}

SysResult<size_t> UnixSocket::send_connected(ByteView data, Outgoing& outgoing) {
  size_t done = 0;
  for (;;) {
    if (write_shut_ || peer_ == nullptr || peer_->read_shut_) {
      if (done > 0) return done;
      if (!was_connected_) return Errno::NotConnected;
      if ((outgoing.flags & kMessageNoSignal) == 0) raise_signal(kSigPipe);
      return Errno::Pipe;
    }
    if (is_stream() && data.empty()) return size_t{0};  // an empty message would look like the end
    const size_t room = kCapacity - std::min(kCapacity, peer_->queued_);
    size_t part = is_stream()                    ? std::min(room, data.size() - done)
                  : peer_->has_room(data.size()) ? data.size()
                                                 : 0;
    if (peer_->queue_.size() >= kMostMessages && !peer_->joins(part, outgoing.files)) part = 0;
    if (part > 0 || (data.empty() && peer_->has_room(0))) {
      peer_->enqueue(data.subspan(done, part), name_, std::move(outgoing.files));
      done += part;
      if (done == data.size()) return done;
      continue;
    }
    if (must_not_wait(outgoing.flags)) return done > 0 ? SysResult<size_t>(done) : Errno::Again;
    const Ref<UnixSocket> kept(peer_);
    const WaitEnd end = peer_->changed_.wait(outgoing.deadline);
    if (end == WaitEnd::Woken) continue;
    if (done > 0) return done;
    return end == WaitEnd::Interrupted ? kInterruptedRestartable : Errno::Again;
  }
}

SysResult<size_t> UnixSocket::send(ByteView data, Outgoing& outgoing) {
  const ByteView address = outgoing.address;
  if ((outgoing.flags & kMessageOutOfBand) != 0) return Errno::NotSupported;
  if (connection_oriented()) {
    if (!address.empty()) return was_connected_ ? Errno::IsConnected : Errno::NotSupported;
    if (!is_stream() && error_ != 0) return static_cast<Errno>(std::exchange(error_, 0));
    if (!is_stream() && data.size() > kCapacity) return Errno::MessageTooBig;
    return send_connected(data, outgoing);
  }
  if (data.size() > kCapacity) return Errno::MessageTooBig;
  for (;;) {
    UnixSocket* target = peer_;
    if (!address.empty()) target = TRY(find_named(*current().process, address));
    if (target == nullptr) {
      const bool gone = was_connected_ || std::exchange(refused_, false);
      return gone ? Errno::ConnectionRefused : Errno::NotConnected;
    }
    if (target->type() != type()) return Errno::Prototype;
    if (!target->hears(*this)) return Errno::Perm;
    if (target->read_shut_ || write_shut_) return Errno::Pipe;
    if (target->has_room(data.size())) {
      target->enqueue(data, name_, std::move(outgoing.files));
      return data.size();
    }
    if (must_not_wait(outgoing.flags)) return Errno::Again;
    const Ref<UnixSocket> kept(target);
    const WaitEnd end = target->changed_.wait(outgoing.deadline);
    if (end != WaitEnd::Woken) return end == WaitEnd::Interrupted ? kInterruptedRestartable : Errno::Again;
  }
}

// Moves (or copies) bytes of the queue; a stream goes on over message borders as far as files.
size_t UnixSocket::take(MutableByteView out, bool peek, Incoming& incoming) {
  size_t done = 0;
  bool more_room = !peek && !roomy();
  for (size_t i = 0; i < queue_.size();) {
    Message& message = queue_[i];
    // unix(7): files come with the bytes before theirs, too; credentials only with their own.
    if (incoming.has_credentials && message.credentials != incoming.credentials) break;
    const ByteView left = ByteView(message.data).subspan(message.taken);
    const size_t part = std::min(left.size(), out.size() - done);
    std::memcpy(out.data() + done, left.data(), part);
    done += part;
    incoming.address = message.address;
    incoming.has_credentials = pass_credentials_;
    incoming.credentials = message.credentials;
    incoming.whole = is_stream() ? done : left.size();
    if (!is_stream() && part < left.size()) incoming.flags |= kMessageTruncated;
    const bool had_files = !message.files.empty();
    if (peek) {
      for (const Ref<File>& file : message.files.list()) incoming.files.add(file);
    } else {
      incoming.files = std::move(message.files);
      message.taken += part;
      queued_ -= is_stream() ? part : message.data.size();
    }
    const bool used_up = !is_stream() || part == left.size();
    if (peek) {
      ++i;
    } else if (used_up) {
      queue_.pop_front();
      more_room = true;
    }
    if (!is_stream() || had_files || !used_up || done == out.size()) break;
  }
  if (!peek) changed_.wake_all();
  if (more_room) tell_senders();
  return done;
}

void UnixSocket::defer(Errno error) {
  if (error == Errno::ConnectionReset) error_ = kReset;
}

SysResult<size_t> UnixSocket::receive(MutableByteView out, uint32_t flags, uint64_t deadline,
                                      Incoming& incoming) {
  if ((flags & kMessageOutOfBand) != 0) return Errno::NotSupported;
  if (connection_oriented() && !was_connected_) return is_stream() ? Errno::Invalid : Errno::NotConnected;
  const bool peek = (flags & kMessagePeek) != 0;
  const bool all = is_stream() && (flags & kMessageWaitAll) != 0 && !peek;
  size_t done = 0;
  for (;;) {
    if (error_ != 0 && (!is_stream() || queue_.empty())) {
      const auto error = static_cast<Errno>(std::exchange(error_, 0));
      return done > 0 ? SysResult<size_t>(done) : error;
    }
    if (!queue_.empty()) {
      if (incoming.has_credentials && queue_.front().credentials != incoming.credentials) return done;
      done += take(out.subspan(done), peek, incoming);
      if (!all || done == out.size() || !incoming.files.empty()) return done;
      continue;
    }
    if (connection_oriented() ? ended() : read_shut_) return done;
    if (peer_ != nullptr && connection_oriented() && peer_->write_shut_) return done;
    if (must_not_wait(flags)) return done > 0 ? SysResult<size_t>(done) : Errno::Again;
    const WaitEnd end = changed_.wait(deadline);
    if (end == WaitEnd::Woken) continue;
    if (done > 0) return done;
    return end == WaitEnd::Interrupted ? kInterruptedRestartable : Errno::Again;
  }
}

void UnixSocket::unreceive(ByteView data, Incoming& incoming) {
  Message message;
  message.data.assign(data.begin(), data.end());
  message.address = incoming.address;
  message.credentials = incoming.credentials;
  message.files = std::move(incoming.files);
  queue_.push_front(std::move(message));
  queued_ += data.size();
}

SysResult<Bytes> UnixSocket::name(bool peer) {
  if (!peer) return name_;
  if (peer_ == nullptr) return Errno::NotConnected;
  return peer_->name_;
}

SysResult<void> UnixSocket::shut_down(bool reading, bool writing) {
  if (connection_oriented() && !was_connected_) return Errno::NotConnected;
  read_shut_ = read_shut_ || reading;
  write_shut_ = write_shut_ || writing;
  changed(0);
  if (peer_ != nullptr && connection_oriented()) {
    if (writing) peer_->read_shut_ = true;
    if (reading) peer_->write_shut_ = true;
    peer_->changed(0);
  }
  return {};
}

SysResult<int64_t> UnixSocket::ioctl(uint64_t request, uint64_t argument) {
  if (request != kBytesWaiting) return interface_ioctl(request, argument);  // C libraries ask any socket
  if (listening_) return Errno::Invalid;
  const size_t size = connection_oriented() ? queued_ : queue_.empty() ? 0 : queue_.front().data.size();
  TRY(store_user(argument, static_cast<int32_t>(size)));
  return 0;
}

uint16_t UnixSocket::ready() {
  uint16_t events = error_ != 0 ? kPollError : 0;
  const bool over = connection_oriented() && was_connected_ && (read_shut_ || peer_ == nullptr);
  if (!queue_.empty() || !pending_.empty() || over) events |= kPollIn;
  if (over) events |= kPollReadHangup;
  if (connection_oriented() && was_connected_ && (peer_ == nullptr || (read_shut_ && write_shut_)))
    events |= kPollHangup;
  if (connection_oriented() && !was_connected_ && !listening_)
    return static_cast<uint16_t>(kPollOut | kPollHangup);
  const bool room = peer_ == nullptr || peer_->roomy();
  if (!listening_ && room) events |= kPollOut;
  return events;
}

void UnixSocket::poll_queues(std::vector<WaitQueue*>& queues) {
  queues.push_back(&changed_);
  if (peer_ != nullptr) queues.push_back(&peer_->changed_);
}

SysResult<void> UnixSocket::set_family_option(int32_t level, int32_t name, ByteView value) {
  if (level != kSolSocket) return Errno::NotSupported;
  const bool buffer = name == kSoSendBuffer || name == kSoReceiveBuffer;
  if (!buffer && name != kSoPassCredentials && !without_effect(name)) return Errno::NoProtocolOption;
  int32_t number = 0;
  if (value.size() < sizeof(number)) return Errno::Invalid;
  std::memcpy(&number, value.data(), sizeof(number));
  if (name == kSoPassCredentials) pass_credentials_ = number != 0;
  // What the program reads back; the queue has always the same size.
  if (buffer) (name == kSoSendBuffer ? send_buffer_ : receive_buffer_) = as_buffer_size(number);
  return {};
}

SysResult<size_t> UnixSocket::get_family_option(int32_t level, int32_t name, MutableByteView out) {
  if (level != kSolSocket) return Errno::NotSupported;
  switch (name) {
    case kSoPeerCredentials: {
      const size_t count = std::min(out.size(), sizeof(peer_credentials_));
      std::memcpy(out.data(), &peer_credentials_, count);
      return count;
    }
    case kSoPassCredentials:
      return give_int(pass_credentials_ ? 1 : 0, out);
    case kSoAcceptConnections:
      return give_int(listening_ ? 1 : 0, out);
    case kSoError:
      return give_int(std::exchange(error_, 0), out);
    case kSoProtocol:
      return give_int(0, out);
    case kSoSendBuffer:
      return give_int(send_buffer_, out);
    case kSoReceiveBuffer:
      return give_int(receive_buffer_, out);
    default:
      return without_effect(name) ? give_int(0, out) : SysResult<size_t>(Errno::NoProtocolOption);
  }
}

}  // namespace cloister::enclave
