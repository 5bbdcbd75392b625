#include "transfer/store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <ctime>

#include "base/files.h"
#include "crypto/encoding.h"
#include "crypto/random.h"
#include "transfer/names.h"

namespace cloister::transfer {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kHeader = "cloister-upload 1";
constexpr uint64_t kReservationStep = 16 << 20;  // for uploads of unknown size

template <size_t N>
std::string random_text() {
  return crypto::base64url_encode(crypto::random_array<N>());
}

std::string describe(const Upload& upload) {
  std::string out(kHeader);
  out.append("\nname=").append(upload.name);
  out.append("\nsize=").append(std::to_string(upload.size));
  out.append("\nsha256=").append(to_hex(upload.sha256));
  out.append("\ncreated=").append(std::to_string(upload.created));
  out.append("\ntoken_sha256=").append(to_hex(upload.token_sha256)).append("\n");
  return out;
}

template <class Int>
Result<Int> number(std::string_view text) {
  Int value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size()) return Error(Code::Malformed, "a number");
  return value;
}

// Exactly what describe() writes.
Result<Upload> parse_description(std::string_view text) {
  std::vector<std::string_view> values;
  static constexpr std::string_view kKeys[] = {"name=", "size=", "sha256=", "created=", "token_sha256="};
  size_t line_number = 0;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos || line_number > std::size(kKeys))
      return Error(Code::Malformed, "lines");
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (line_number == 0 && line != kHeader) return Error(Code::Malformed, "not an upload's description");
    if (line_number > 0) {
      const std::string_view key = kKeys[line_number - 1];
      if (!line.starts_with(key)) return Error(Code::Malformed, "lines");
      values.push_back(line.substr(key.size()));
    }
    ++line_number;
  }
  if (values.size() != std::size(kKeys)) return Error(Code::Malformed, "lines");
  Upload upload;
  upload.name = values[0];
  upload.size = TRY(number<uint64_t>(values[1]));
  upload.sha256 = TRY(array_from_hex<32>(values[2]));
  upload.created = TRY(number<int64_t>(values[3]));
  upload.token_sha256 = TRY(array_from_hex<32>(values[4]));
  if (!is_upload_name(upload.name)) return Error(Code::Malformed, "the name");
  return upload;
}

Result<Upload> load_upload(const fs::path& folder) {
  const Bytes text = TRY(read_file(folder / "upload", 4096));
  Upload upload = TRY(parse_description(as_text(text)));
  upload.id = folder.filename().string();
  const File content = TRY(File::open_to_read(folder / "content"));
  if (TRY(content.size()) != upload.size) return Error(Code::Integrity, "the content has another size");
  return upload;
}

}  // namespace

Store::Store(StoreOptions options) : options_(std::move(options)) {}

Store::~Store() {
  if (lock_ >= 0) ::close(lock_);
}

Result<std::unique_ptr<Store>> Store::open(const StoreOptions& given) {
  StoreOptions options = given;
  if (!options.now) options.now = [] { return static_cast<int64_t>(std::time(nullptr)); };
  std::unique_ptr<Store> store(new Store(std::move(options)));
  TRY(store->load());
  return store;
}

Result<void> Store::load() {
  TRY(make_private_folder(options_.root));
  const fs::path lock = options_.root / "lock";
  lock_ = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (lock_ < 0) return system_error(lock, "open", errno);
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    return Error(Code::Denied, options_.root.string() + " is in use by another transfer service");
  }
  std::error_code failure;
  fs::remove_all(options_.root / "partial", failure);
  TRY(make_private_folder(options_.root / "partial"));
  TRY(make_private_folder(options_.root / "files"));
  fs::directory_iterator folders(options_.root / "files", failure);
  for (; !failure && folders != fs::directory_iterator(); folders.increment(failure)) {
    // What is damaged stays on disk for a person to look at, and is not served.
    Result<Upload> upload = load_upload(folders->path());
    if (!upload.ok()) continue;
    used_ += upload->size;
    std::string id = upload->id;
    uploads_.emplace(std::move(id), std::move(*upload));
  }
  if (failure) return system_error(options_.root / "files", "read", failure.value());
  return {};
}

bool Store::has_expired(const Upload& upload) const {
  return options_.max_age > 0 && options_.now() - upload.created >= options_.max_age;
}

std::optional<Upload> Store::find(std::string_view id) const {
  const std::lock_guard lock(mutex_);
  const auto found = uploads_.find(id);
  if (found == uploads_.end() || has_expired(found->second)) return std::nullopt;
  return found->second;
}

Result<File> Store::open_content(const Upload& upload) const {
  return File::open_to_read(folder_of(upload.id) / "content");
}

uint64_t Store::used() const {
  const std::lock_guard lock(mutex_);
  return used_;
}

Result<void> Store::reserve(uint64_t size) {
  const std::lock_guard lock(mutex_);
  if (size > options_.quota || used_ > options_.quota - size || uploads_.size() >= options_.max_uploads) {
    return Error(Code::Unavailable, "the transfer service is full");
  }
  used_ += size;
  return {};
}

void Store::release(uint64_t size) {
  const std::lock_guard lock(mutex_);
  used_ -= size;
}

Result<std::unique_ptr<Store::Incoming>> Store::begin(std::string_view name, std::optional<uint64_t> size) {
  if (!is_upload_name(name)) {
    return Error(Code::InvalidArgument, "not a name for an upload: 1 to 200 bytes of UTF-8 without '/'");
  }
  if (size.value_or(0) > options_.max_file_size) {
    return Error(Code::InvalidArgument, "larger than " + std::to_string(options_.max_file_size) + " bytes");
  }
  std::string folder = (options_.root / "partial" / "XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) return system_error(folder, "create", errno);
  Result<File> content = File::create(fs::path(folder) / "content");
  if (!content.ok()) {
    ::rmdir(folder.c_str());
    return std::move(content).error();
  }
  std::unique_ptr<Incoming> incoming(new Incoming(*this, name, folder, std::move(*content)));
  TRY(reserve(size.value_or(0)));
  incoming->reserved_ = size.value_or(0);
  return incoming;
}

// Out of sight by one rename; what a crash leaves in partial/ goes at the next start.
Result<void> Store::unpublish(const std::string& id) {
  const fs::path away = options_.root / "partial" / (id + ".removed");
  const RemoveOnExit remove(away);
  return rename_durably(folder_of(id), away);
}

Result<void> Store::remove(std::string_view id, std::string_view token) {
  std::string known;
  {
    const std::lock_guard lock(mutex_);
    const auto found = uploads_.find(id);
    if (found == uploads_.end()) return Error(Code::NotFound, "no such upload");
    if (!equal_constant_time(crypto::sha256(as_bytes(token)), found->second.token_sha256)) {
      return Error(Code::Denied, "not the token of this upload");
    }
    known = found->first;
    used_ -= found->second.size;
    uploads_.erase(found);
  }
  return unpublish(known);
}

size_t Store::remove_expired() {
  std::vector<std::string> expired;
  {
    const std::lock_guard lock(mutex_);
    for (auto it = uploads_.begin(); it != uploads_.end();) {
      if (!has_expired(it->second)) {
        ++it;
        continue;
      }
      expired.push_back(it->first);
      used_ -= it->second.size;
      it = uploads_.erase(it);
    }
  }
  // One that cannot be removed now is found again, still expired, at the next start.
  for (const std::string& id : expired) static_cast<void>(unpublish(id));
  return expired.size();
}

Store::Incoming::~Incoming() { store_.release(reserved_); }

Result<void> Store::Incoming::write(ByteView data) {
  const StoreOptions& options = store_.options();
  if (data.size() > options.max_file_size - size_) {
    return Error(Code::InvalidArgument, "larger than " + std::to_string(options.max_file_size) + " bytes");
  }
  if (size_ + data.size() > reserved_) {
    const uint64_t step =
        std::max<uint64_t>(data.size(), std::min(kReservationStep, options.max_file_size - size_));
    // Near the end of the quota the step may be too large where the bytes themselves are not.
    if (store_.reserve(step).ok()) {
      reserved_ += step;
    } else {
      const uint64_t exact = size_ + data.size() - reserved_;
      TRY(store_.reserve(exact));
      reserved_ += exact;
    }
  }
  TRY(content_.write_at(size_, data));
  hash_.update(data);
  size_ += data.size();
  return {};
}

crypto::Digest Store::Incoming::finish() {
  digest_ = hash_.finish();
  return digest_;
}

Result<Store::Incoming::Published> Store::Incoming::publish() {
  Published out;
  out.token = random_text<24>();
  out.upload.id = random_text<16>();
  out.upload.name = name_;
  out.upload.size = size_;
  out.upload.sha256 = digest_;
  out.upload.created = store_.now();
  out.upload.token_sha256 = crypto::sha256(as_bytes(out.token));
  TRY(content_.sync());
  TRY(write_private_file(folder_ / "upload", as_bytes(describe(out.upload))));
  TRY(rename_durably(folder_, store_.folder_of(out.upload.id)));
  remove_.keep();
  const std::lock_guard lock(store_.mutex_);
  // What was reserved becomes what is kept.
  store_.used_ = store_.used_ - reserved_ + size_;
  reserved_ = 0;
  store_.uploads_.emplace(out.upload.id, out.upload);
  return out;
}

}  // namespace cloister::transfer
