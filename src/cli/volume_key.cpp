#include "cli/volume_key.h"

#include <cstdio>

#include <sys/stat.h>

#include "base/text.h"
#include "crypto/random.h"

namespace cloister::cli {

namespace {

bool all_hex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
}

// What was found in place of a key. Nothing of its text: it may be a key in another form.
Error no_key(std::string_view whole, std::string_view text) {
  const std::string what = "the volume key is not 64 hex digits";
  if (text.empty())
    return {Code::InvalidArgument, what + ": it is empty", "make one with: cloister volume create"};
  const std::string count = std::to_string(text.size());
  if (all_hex(text)) return {Code::InvalidArgument, what + ", but " + count};
  if (whole.size() == sizeof(volume::Key))
    return {Code::InvalidArgument, what + ", but 32 raw bytes", "turn them into hex with: xxd -p -c 32"};
  return {Code::InvalidArgument, what + ", but " + count + " characters, not all of them hex digits"};
}

// Only said: a key in a container's or a shared folder may have to be like that.
void warn_of_readers(const std::filesystem::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return;
  if ((status.st_mode & (S_IRGRP | S_IROTH)) == 0) return;
  const std::string name = printable(file.native());
  std::fprintf(stderr, "cloister: other users may read the key in %s; chmod 600 keeps it private\n",
               name.c_str());
}

}  // namespace

Result<volume::Key> parse_volume_key(std::string_view whole) {
  std::string_view text = whole;
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' '))
    text.remove_suffix(1);
  auto bytes = array_from_hex<32>(text);
  if (!bytes.ok()) return no_key(whole, text);
  volume::Key key(*bytes);
  wipe(bytes->data(), bytes->size());
  return key;
}

Result<volume::Key> load_volume_key(const std::filesystem::path& file) {
  const SecretBytes text = TRY(read_secret_file(file, 4096));
  warn_of_readers(file);
  Result<volume::Key> key = parse_volume_key(as_text(text.expose()));
  if (!key.ok()) return std::move(key).error().within(file.native());
  return key;
}

volume::Key new_volume_key() { return volume::Key(crypto::random_array<32>()); }

Result<StagedFile> stage_volume_key(const std::filesystem::path& file, const volume::Key& key) {
  const SecretBytes text([&key] {
    const std::string hex = to_hex(key.expose()) + "\n";
    return Bytes(hex.begin(), hex.end());
  }());
  return StagedFile::write(file, text.expose());
}

Result<std::optional<volume::Key>> make_volume_key(const std::filesystem::path& file) {
  volume::Key key = new_volume_key();
  StagedFile staged = TRY(stage_volume_key(file, key));
  if (!TRY(staged.put())) return std::optional<volume::Key>();
  return std::optional<volume::Key>(std::move(key));
}

}  // namespace cloister::cli
