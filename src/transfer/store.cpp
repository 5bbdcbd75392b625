#include "transfer/store.h"

#include <fcntl.h>
#include <sys/file.h>

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
constexpr uint64_t kReservationStep = 16 << 20;  // as bytes arrive

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

// What this machine cannot do is its operator's business: Internal, and nothing for a stranger to read.
Error disk_error(const Error& error) { return Error(Code::Internal, error.message()); }

Error too_large(uint64_t limit) {
  return Error(Code::InvalidArgument, "larger than " + std::to_string(limit) + " bytes");
}

}  // namespace

Store::Store(StoreOptions options) : options_(std::move(options)) {}

Store::~Store() = default;

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
  lock_ = Descriptor(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock_.valid()) return system_error(lock, "open", errno);
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
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

bool Store::has_room(uint64_t size) const {
  return size <= options_.quota && used_ <= options_.quota - size && uploads_.size() < options_.max_uploads;
}

Result<void> Store::reserve(uint64_t size) {
  const std::lock_guard lock(mutex_);
  if (!has_room(size)) return Error(Code::Unavailable, "the transfer service is full");
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
  if (size.value_or(0) > options_.max_file_size) return too_large(options_.max_file_size);
  // Nothing is held back for what is only announced: whoever announced much and sent nothing would keep all
  // others out.
  if (const std::lock_guard lock(mutex_); !has_room(size.value_or(0)))
    return Error(Code::Unavailable, "the transfer service is full");
  std::string folder = (options_.root / "partial" / "XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) return disk_error(system_error(folder, "create", errno));
  RemoveOnExit half_made(folder);
  Result<File> content = File::create(fs::path(folder) / "content");
  if (!content.ok()) return disk_error(content.error());
  half_made.keep();
  return std::unique_ptr<Incoming>(
      new Incoming(*this, name, folder, std::move(*content), size.value_or(options_.max_file_size)));
}

// Out of sight by one durable rename, then out of the index; on failure it stays in both. What a crash leaves
// in partial/ goes at the next start.
Result<fs::path> Store::unpublish(const std::string& id) {
  const fs::path away = options_.root / "partial" / (id + ".removed");
  if (::rename(folder_of(id).c_str(), away.c_str()) != 0)
    return disk_error(system_error(folder_of(id), "remove", errno));
  if (const Result<void> synced = sync_folder(options_.root / "files"); !synced.ok()) {
    ::rename(away.c_str(), folder_of(id).c_str());
    return disk_error(synced.error());
  }
  const auto found = uploads_.find(id);
  used_ -= found->second.size;
  uploads_.erase(found);
  return fs::path(away);
}

Result<fs::path> Store::unpublish(std::string_view id, std::string_view token) {
  const std::lock_guard lock(mutex_);
  const auto found = uploads_.find(id);
  if (found == uploads_.end()) return Error(Code::NotFound, "no such upload");
  if (!equal_constant_time(crypto::sha256(as_bytes(token)), found->second.token_sha256)) {
    return Error(Code::Denied, "not the token of this upload");
  }
  return unpublish(std::string(found->first));
}

Result<void> Store::remove(std::string_view id, std::string_view token) {
  const RemoveOnExit content(TRY(unpublish(id, token)));  // gigabytes, without the lock
  return {};
}

size_t Store::remove_expired() {
  std::vector<std::string> expired;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, upload] : uploads_) {
      if (has_expired(upload)) expired.push_back(id);
    }
  }
  size_t count = 0;
  for (const std::string& id : expired) {
    std::unique_lock lock(mutex_);
    if (!uploads_.contains(id)) continue;
    const Result<fs::path> away = unpublish(id);
    lock.unlock();
    if (!away.ok()) continue;  // still expired the next time
    const RemoveOnExit content(*away);
    ++count;
  }
  return count;
}

Store::Incoming::~Incoming() { store_.release(reserved_); }

Result<void> Store::Incoming::write(ByteView data) {
  const StoreOptions& options = store_.options();
  if (data.size() > options.max_file_size - size_) return too_large(options.max_file_size);
  if (size_ + data.size() > reserved_) {
    const uint64_t missing = announced_ > size_ ? announced_ - size_ : 0;
    const uint64_t step = std::max<uint64_t>(data.size(), std::min(kReservationStep, missing));
    // Near the end of the quota the step may be too large where the bytes themselves are not.
    if (store_.reserve(step).ok()) {
      reserved_ += step;
    } else {
      const uint64_t exact = size_ + data.size() - reserved_;
      TRY(store_.reserve(exact));
      reserved_ += exact;
    }
  }
  if (const Result<void> written = content_.write_at(size_, data); !written.ok())
    return disk_error(written.error());
  hash_.update(data);
  size_ += data.size();
  return {};
}

crypto::Digest Store::Incoming::finish() {
  digest_ = hash_.finish();
  return digest_;
}

Result<void> Store::Incoming::store(const Upload& upload) {
  TRY(content_.sync());
  TRY(write_private_file(folder_ / "upload", as_bytes(describe(upload))));
  const fs::path place = store_.folder_of(upload.id);
  if (::rename(folder_.c_str(), place.c_str()) != 0) return system_error(place, "create", errno);
  remove_.keep();
  RemoveOnExit not_durable(place);  // its uploader would be told that it failed, and find it after a restart
  TRY(sync_folder(place.parent_path()));
  not_durable.keep();
  return {};
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
  if (const Result<void> stored = store(out.upload); !stored.ok()) return disk_error(stored.error());
  const std::lock_guard lock(store_.mutex_);
  // What was reserved becomes what is kept.
  store_.used_ = store_.used_ - reserved_ + size_;
  reserved_ = 0;
  store_.uploads_.emplace(out.upload.id, out.upload);
  return out;
}

}  // namespace cloister::transfer
