#include "cli/volume_key.h"

#include "base/files.h"
#include "crypto/random.h"

namespace cloister::cli {

Result<volume::Key> parse_volume_key(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' '))
    text.remove_suffix(1);
  auto bytes = array_from_hex<32>(text);
  if (!bytes.ok()) {
    return Error(Code::InvalidArgument, "the volume key is not 64 hex digits",
                 "make one with: cloister volume create");
  }
  volume::Key key(*bytes);
  wipe(bytes->data(), bytes->size());
  return key;
}

Result<volume::Key> load_volume_key(const std::filesystem::path& file) {
  const SecretBytes text = TRY(read_secret_file(file, 4096));
  return parse_volume_key(as_text(text.expose()));
}

Result<volume::Key> make_volume_key(const std::filesystem::path& file) {
  const volume::Key key(crypto::random_array<32>());
  const SecretBytes text([&key] {
    const std::string hex = to_hex(key.expose()) + "\n";
    return Bytes(hex.begin(), hex.end());
  }());
  TRY(write_private_file(file, text.expose()));
  return key;
}

}  // namespace cloister::cli
