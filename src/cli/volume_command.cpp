// `cloister volume …`: encrypted volumes on the owner's machine. Keys come from a file or the environment,
// never from the command line. The caller keeps the tag: it is what makes a volume's state the newest one.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "base/files.h"
#include "cli/commands.h"
#include "crypto/random.h"
#include "volume/posix_storage.h"
#include "volume/tree_copy.h"
#include "volume/volume.h"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
using volume::Volume;

constexpr const char* kKeyVariable = "CLOISTER_VOLUME_KEY";

struct Arguments {
  std::string volume, key_file, tag, path, folder;
  bool without_freshness = false;
};

volume::Timestamp now() {
  timespec time{};
  clock_gettime(CLOCK_REALTIME, &time);
  return {time.tv_sec, static_cast<uint32_t>(time.tv_nsec)};
}

Result<volume::Key> parse_key(std::string_view text) {
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

Result<volume::Key> load_key(const Arguments& a) {
  if (!a.key_file.empty()) {
    const SecretBytes text = TRY(read_secret_file(a.key_file, 4096));
    return parse_key(as_text(text.expose()));
  }
  const char* text = std::getenv(kKeyVariable);
  if (text == nullptr) {
    return Error(Code::InvalidArgument, "no volume key", "give --key-file FILE or set CLOISTER_VOLUME_KEY");
  }
  return parse_key(text);
}

// The key for a new volume: the file's if it exists, else a fresh one written there.
Result<volume::Key> load_or_make_key(const Arguments& a) {
  if (a.key_file.empty() || fs::exists(a.key_file)) return load_key(a);
  const volume::Key key(crypto::random_array<32>());
  const SecretBytes text([&key] {
    const std::string hex = to_hex(key.expose()) + "\n";
    return Bytes(hex.begin(), hex.end());
  }());
  TRY(write_private_file(a.key_file, text.expose()));
  return key;
}

struct Opened {
  std::unique_ptr<volume::Storage> storage;
  std::unique_ptr<Volume> volume;
};

Result<Opened> open(const Arguments& a, bool read_only) {
  const volume::Key key = TRY(load_key(a));
  Opened out;
  out.storage = TRY(volume::open_posix_storage(a.volume));
  volume::OpenOptions options;
  options.read_only = read_only;
  options.owner = "cloister volume";
  if (a.without_freshness) {
    std::fputs("cloister: opening without a tag: an older state would not be noticed\n", stderr);
    out.volume = TRY(Volume::open_newest_without_freshness(*out.storage, key, options));
    return out;
  }
  const auto tag = array_from_hex<16>(a.tag);
  if (!tag.ok()) {
    return Error(Code::InvalidArgument, "the tag is not 32 hex digits",
                 "give --tag as `cloister volume create` or `add` printed it");
  }
  out.volume = TRY(Volume::open(*out.storage, key, *tag, options));
  return out;
}

Result<volume::InodeId> walk(Volume& volume, std::string_view path) {
  volume::InodeId at = volume::kRootInode;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    path = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
    if (!name.empty()) at = TRY(volume.lookup(at, name));
  }
  return at;
}

void print_tag(const volume::Tag& tag) { std::printf("%s\n", to_hex(tag).c_str()); }

Result<void> create(const Arguments& a) {
  const volume::Key key = TRY(load_or_make_key(a));
  const auto storage = TRY(volume::open_posix_storage(a.volume, true));
  volume::CreateOptions options;
  options.now = now();
  const auto made = TRY(Volume::create(*storage, key, options));
  print_tag(made->tag());
  return {};
}

Result<void> add(const Arguments& a) {
  const Opened opened = TRY(open(a, false));
  const auto totals = TRY(volume::copy_folder_in(*opened.volume, a.folder));
  const volume::Tag tag = TRY(opened.volume->commit());
  print_tag(tag);  // from here on the caller holds it
  std::fflush(stdout);
  TRY(opened.volume->acknowledge(tag));
  std::fprintf(stderr, "%llu files, %llu bytes\n", static_cast<unsigned long long>(totals.files),
               static_cast<unsigned long long>(totals.bytes));
  return {};
}

Result<void> get(const Arguments& a) {
  const Opened opened = TRY(open(a, true));
  TRY(volume::copy_folder_out(*opened.volume, a.folder));
  return {};
}

// Names may hold anything; control characters are shown as \xNN so that a listing cannot fake lines.
std::string printable(std::string_view name) {
  std::string out;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f && c != '\\') {
      out += c;
      continue;
    }
    char escaped[8];
    std::snprintf(escaped, sizeof(escaped), "\\x%02x", byte);
    out += escaped;
  }
  return out;
}

Result<void> list_below(Volume& volume, volume::InodeId directory, const std::string& prefix) {
  uint64_t cookie = 0;
  do {
    std::vector<volume::DirectoryEntry> entries;
    cookie = TRY(volume.read_directory(directory, cookie, 256, entries));
    for (const volume::DirectoryEntry& entry : entries) {
      const volume::Attributes attributes = TRY(volume.attributes(entry.inode));
      const char kind = entry.type == volume::FileType::Directory ? 'd'
                        : entry.type == volume::FileType::Symlink ? 'l'
                                                                  : '-';
      std::printf("%c%04o %12llu %s\n", kind, attributes.permissions,
                  static_cast<unsigned long long>(attributes.size), (prefix + printable(entry.name)).c_str());
      if (kind == 'd') TRY(list_below(volume, entry.inode, prefix + printable(entry.name) + "/"));
    }
  } while (cookie != 0);
  return {};
}

Result<void> list(const Arguments& a) {
  const Opened opened = TRY(open(a, true));
  const volume::InodeId at = TRY(walk(*opened.volume, a.path));
  return list_below(*opened.volume, at, "");
}

Result<void> cat(const Arguments& a) {
  const Opened opened = TRY(open(a, true));
  const volume::InodeId at = TRY(walk(*opened.volume, a.path));
  Bytes buffer(1 << 20);
  for (uint64_t offset = 0;;) {
    const size_t count = TRY(opened.volume->read(at, offset, buffer));
    if (count == 0) return {};
    if (std::fwrite(buffer.data(), 1, count, stdout) != count) {
      return Error(Code::Unavailable, "cannot write to standard output");
    }
    offset += count;
  }
}

Result<void> verify(const Arguments& a) {
  const Opened opened = TRY(open(a, true));
  TRY(opened.volume->verify_all());
  const auto usage = opened.volume->usage();
  std::printf("verified: %llu files, %llu bytes\n", static_cast<unsigned long long>(usage.files),
              static_cast<unsigned long long>(usage.data_size));
  return {};
}

Result<void> newest_tag(const Arguments& a) {
  const Opened opened = TRY(open(a, true));
  print_tag(opened.volume->tag());
  return {};
}

using Command = Result<void> (*)(const Arguments&);

CLI::App* command(CLI::App& group, const char* name, const char* what, const char* example,
                  const std::shared_ptr<Arguments>& a, Action& action, Command function) {
  auto* sub = group.add_subcommand(name, what);
  sub->footer(std::string("Example: ") + example);
  sub->add_option("VOLUME", a->volume, "Folder of the volume")->required();
  sub->add_option("--key-file", a->key_file, "File with the key, 64 hex digits (else $CLOISTER_VOLUME_KEY)");
  sub->callback([a, &action, function] {
    action = [a, function] {
      const auto result = function(*a);
      return result.ok() ? static_cast<int>(kOk) : report(result.error());
    };
  });
  return sub;
}

void add_opening(CLI::App* sub, Arguments& a) {
  auto* tag = sub->add_option("--tag", a.tag, "Tag of the state to open, 32 hex digits");
  auto* flag =
      sub->add_flag("--without-freshness", a.without_freshness, "Open the newest state found, however old");
  tag->excludes(flag);
}

}  // namespace

void add_volume_commands(CLI::App& app, Action& action) {
  auto* group = app.add_subcommand("volume", "Encrypted volumes on this machine");
  group->require_subcommand(1);
  const auto a = std::make_shared<Arguments>();
  command(*group, "create", "Make an empty volume; prints its tag",
          "cloister volume create vol --key-file vol.key", a, action, create);
  auto* sub = command(*group, "add", "Copy a folder's content in; prints the new tag",
                      "cloister volume add vol INPUTS --key-file vol.key --tag TAG", a, action, add);
  sub->add_option("FOLDER", a->folder, "What to copy")->required();
  add_opening(sub, *a);
  sub = command(*group, "get", "Verify and copy everything out",
                "cloister volume get vol OUTPUTS --key-file vol.key --tag TAG", a, action, get);
  sub->add_option("FOLDER", a->folder, "Where to")->required();
  add_opening(sub, *a);
  sub = command(*group, "ls", "List everything below a path",
                "cloister volume ls vol --key-file vol.key --tag TAG", a, action, list);
  sub->add_option("PATH", a->path, "Path in the volume");
  add_opening(sub, *a);
  sub = command(*group, "cat", "Print a file",
                "cloister volume cat vol dir/file --key-file vol.key --tag TAG", a, action, cat);
  sub->add_option("PATH", a->path, "Path in the volume")->required();
  add_opening(sub, *a);
  sub = command(*group, "verify", "Read and verify every byte",
                "cloister volume verify vol --key-file vol.key --tag TAG", a, action, verify);
  add_opening(sub, *a);
  sub = command(*group, "tag", "Print the tag of the state that opens",
                "cloister volume tag vol --key-file vol.key --without-freshness", a, action, newest_tag);
  add_opening(sub, *a);
}

}  // namespace cloister::cli
