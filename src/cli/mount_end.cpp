#include "cli/mount_end.h"

#include <fstream>
#include <sstream>

#include <sys/socket.h>
#include <sys/un.h>

#include "crypto/sha256.h"

namespace cloister::cli {
namespace {

// A code (0: committed, else 1 + Code), the size of a text, the text.
constexpr size_t kHeader = 3, kMostText = 1024;
constexpr size_t kHashSize = 16;

// \040 and the like, as the kernel writes paths.
std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

Socket local_socket() { return Socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)); }

// A name without a file: it goes with the process. Anybody may take it, so the user is asked for, too. The
// number of a device is free again before the process that served it has noticed: the volume, which has one
// writer at a time, tells two mounts apart.
socklen_t name_of(const MountedVolume& mounted, sockaddr_un& address) {
  const std::string name = "cloister-mount-" + mounted.device + "-" +
                           to_hex(ByteView(crypto::sha256(as_bytes(mounted.source))).first(kHashSize));
  address = {};
  address.sun_family = AF_UNIX;
  const size_t size = name.copy(address.sun_path + 1, sizeof(address.sun_path) - 1);
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + size);
}

}  // namespace

Result<MountedVolume> volume_mounted_on(const std::string& mountpoint) {
  std::ifstream table("/proc/self/mountinfo");
  MountedVolume found;
  for (std::string line; std::getline(table, line);) {  // the last one lies on top
    std::istringstream fields(line);
    std::string skip, device, where, type, source, options;
    fields >> skip >> skip >> device >> skip >> where;
    while (fields >> skip && skip != "-") {
    }
    fields >> type >> source >> options;
    if (type != "fuse.cloister" || unescape(where) != mountpoint) continue;
    constexpr std::string_view kUser = ",user_id=";
    const size_t user = options.find(kUser);
    const auto uid =
        user == options.npos ? 0 : std::strtoul(options.c_str() + user + kUser.size(), nullptr, 10);
    found = {device, source, static_cast<uid_t>(uid), options == "ro" || options.starts_with("ro,")};
  }
  if (found.device.empty()) return Error(Code::NotFound, "no volume is mounted on " + mountpoint);
  return found;
}

void MountEnd::listen(const std::string& mountpoint) {
  const Result<MountedVolume> mounted = volume_mounted_on(mountpoint);
  Socket socket = local_socket();
  if (!mounted.ok() || mounted->read_only || !socket.valid()) return;
  sockaddr_un address;
  const socklen_t size = name_of(*mounted, address);
  constexpr int kMostWaiting = 16;
  if (::bind(socket.fd(), reinterpret_cast<const sockaddr*>(&address), size) == 0 &&
      ::listen(socket.fd(), kMostWaiting) == 0)
    listener_ = std::move(socket);
}

void MountEnd::close() {
  while (listener_.valid()) {
    Socket asker(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!asker.valid()) break;
    askers_.push_back(std::move(asker));
  }
  listener_ = Socket();
}

void MountEnd::tell(const Result<void>& end) {
  close();
  std::string message(1, end.ok() ? '\0' : static_cast<char>(1 + static_cast<int>(end.error().code())));
  const std::string text = end.ok() ? "" : end.error().message().substr(0, kMostText);
  message += static_cast<char>(text.size() & 0xff);
  message += static_cast<char>(text.size() >> 8);
  message += text;
  for (const Socket& asker : askers_)
    static_cast<void>(send_all(asker, as_bytes(message), deadline_in(std::chrono::seconds(1))).ok());
}

MountEndQuestion::MountEndQuestion(const MountedVolume& mounted) {
  Socket socket = local_socket();
  sockaddr_un address;
  const socklen_t size = name_of(mounted, address);
  if (!socket.valid() || ::connect(socket.fd(), reinterpret_cast<const sockaddr*>(&address), size) != 0)
    return;
  ucred peer{};
  socklen_t peer_size = sizeof(peer);
  if (::getsockopt(socket.fd(), SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) == 0 && peer.uid == mounted.user)
    socket_ = std::move(socket);
}

Result<void> MountEndQuestion::answer(Deadline deadline) const {
  const Error gone(Code::Unavailable,
                   "it is unmounted; the process that served it ended without its last commit, or cannot be "
                   "asked",
                   "look what the volume holds; its log (syslog) may say more");
  if (!socket_.valid()) return gone;
  ByteArray<kHeader> header{};
  if (const auto got = receive_all(socket_, header, deadline); !got.ok())
    return got.error().message() == "timed out"
               ? Error(Code::Unavailable, "it is unmounted, but still being written")
               : gone;
  if (header[0] == 0) return {};
  const size_t size = load_le<uint16_t>(header.data() + 1);
  if (header[0] > 1 + static_cast<int>(Code::Internal) || size > kMostText) return gone;
  Bytes text(size);
  if (!receive_all(socket_, text, deadline).ok()) return gone;
  return Error(static_cast<Code>(header[0] - 1), std::string(as_text(text)))
      .within("it is unmounted, but not committed");
}

}  // namespace cloister::cli
