// `decrypt`: the tutorial's last step. The CAS says which state of the output volume is the newest; exactly
// that state is opened, verified as a whole and only then copied out.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <deque>

#include "cli/cas_connection.h"
#include "cli/commands.h"
#include "cli/owner_session.h"
#include "cli/remote_folders.h"
#include "cli/temporary_folder.h"
#include "cli/volume_folders.h"
#include "cli/volume_opening.h"
#include "volume/posix_storage.h"
#include "volume/tree_copy.h"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
using volume::Volume;

struct Arguments {
  std::string conf = "/conf", source = "/encryptedOutputs", outputs = "/decryptedOutputs";
  bool insecure = false, verbose = false;
};

struct Match {
  OwnerSession session;
  fs::path folder;  // of the volume
};

// A folder stays where it is; a zip or URL is unpacked into `scratch`.
Result<fs::path> fetch(const Arguments& a, std::optional<TemporaryFolder>& scratch) {
  std::error_code error;
  if (a.source.find("://") != std::string::npos) {
    TRY(check_remote(a.source, a.insecure));
  } else {
    if (fs::is_directory(a.source, error)) return fs::path(a.source);
    if (!fs::exists(a.source, error)) {
      return Error(Code::NotFound, a.source + " does not exist",
                   "give the URL that cloister execute printed, or a zip or folder from there");
    }
  }
  scratch = TRY(TemporaryFolder::make());
  const fs::path folder = scratch->path() / "volumes";
  ProgressBar bar("downloading");
  TRY(transfer::pull_folder(a.source, folder, transfer_options(a.insecure, bar)));
  return fs::path(folder);
}

// True when the key opens some state of the volume.
bool opens(const fs::path& folder, const fs::path& key_file) {
  const auto key = load_volume_key(key_file);
  if (!key.ok()) return false;
  const auto storage = volume::open_posix_storage(folder);
  if (!storage.ok()) return false;
  volume::OpenOptions options;
  options.read_only = true;
  return Volume::open_newest_without_freshness(**storage, *key, options).ok();
}

Result<Match> find_session(const std::vector<OwnerSession>& sessions, const fs::path& root,
                           const std::string& source, const std::string& conf) {
  const auto volumes = TRY(find_volumes(root));
  if (volumes.empty())
    return Error(Code::NotFound, "there is no volume in " + source + ": no folder has a volume.fspf");
  for (const OwnerSession& session : sessions) {
    for (const auto& [name, folder] : volumes) {
      const auto ids = TRY(volume_ids(folder));
      if (std::find(ids.begin(), ids.end(), session.output.id) != ids.end()) return Match{session, folder};
    }
  }
  for (const OwnerSession& session : sessions) {
    for (const auto& [name, folder] : volumes) {
      if (opens(folder, session.output_key_file())) return Match{session, folder};
    }
  }
  return Error(Code::NotFound, "no output volume in " + source + " belongs to a session of " + conf,
               "its key is not here: give with --conf the folder that encryptedpush used");
}

Result<cas::VolumeState> newest_state(const OwnerSession& session, const fs::path& conf) {
  cas::Client client = TRY(connect_cas(session.cas, conf));
  const auto states = TRY(client.volumes(session.session));
  for (const cas::VolumeState& state : states) {
    if (state.name == session.output.name && state.tag) return state;
  }
  return Error(Code::NotFound, "the CAS " + session.cas + " knows no state of volume " + session.output.name +
                                   " of session " + session.session);
}

Result<std::unique_ptr<Volume>> open_at(volume::Storage& storage, const Match& match,
                                        const cas::VolumeState& state) {
  const Result<volume::Key> key = load_volume_key(match.session.output_key_file());
  if (!key.ok()) {
    return Error(key.error().code(), "the key of the output volume: " + key.error().message(),
                 "it must be in " + match.session.output_key_file().string() + ", as encryptedpush wrote it");
  }
  volume::OpenOptions options;
  options.read_only = true;
  Result<std::unique_ptr<Volume>> volume = Volume::open(storage, *key, *state.tag, options);
  if (volume.ok()) return volume;
  const Error& error = volume.error();
  std::string hint = error.hint();
  if (error.code() == Code::Integrity && hint.empty()) {
    hint = "The CAS holds tag " + to_hex(*state.tag) + " (" + std::to_string(state.updates) +
           " updates): only that state is the result. Nothing was written.";
  }
  return Error(error.code(), error.message(), hint);
}

// What is going to be made. Every name that would be overwritten is found before anything is written.
Result<std::vector<fs::path>> free_places(Volume& volume, const fs::path& outputs) {
  std::error_code error;
  std::vector<fs::path> places;
  if (!fs::exists(outputs, error)) {
    places.push_back(outputs);
    return places;
  }
  if (!fs::is_directory(outputs, error))
    return Error(Code::InvalidArgument, outputs.string() + " is not a folder", "choose another");
  uint64_t cookie = 0;
  do {
    std::vector<volume::DirectoryEntry> entries;
    cookie = TRY(volume.read_directory(volume::kRootInode, cookie, 256, entries));
    for (const volume::DirectoryEntry& entry : entries) {
      const fs::path path = outputs / entry.name;
      if (fs::symlink_status(path, error).type() == fs::file_type::not_found) {
        places.push_back(path);
        continue;
      }
      return Error(Code::InvalidArgument, path.string() + " exists already",
                   "decrypt overwrites nothing: choose another folder for --decryptedOutputs");
    }
  } while (cookie != 0);
  return places;
}

Result<void> copy_out(Volume& volume, const fs::path& outputs) {
  std::error_code error;
  if (outputs.has_parent_path()) fs::create_directories(outputs.parent_path(), error);
  ProgressBar bar("decrypting");
  const uint64_t size = volume.usage().data_size;
  volume::CopyOptions options;
  options.progress = [&bar, size](std::string_view, const volume::CopyTotals& totals) {
    bar.update(totals.bytes, size);
  };
  const auto totals = TRY(volume::copy_folder_out(volume, outputs, options));
  std::fprintf(stderr, "%llu files, %llu bytes decrypted into %s\n",
               static_cast<unsigned long long>(totals.files), static_cast<unsigned long long>(totals.bytes),
               outputs.c_str());
  tell_left_out(totals);
  return {};
}

Result<void> decrypt(const Arguments& a) {
  const auto sessions = TRY(load_sessions(a.conf));
  std::optional<TemporaryFolder> scratch;
  const fs::path root = TRY(fetch(a, scratch));
  const Match match = TRY(find_session(sessions, root, a.source, a.conf));
  const cas::VolumeState state = TRY(newest_state(match.session, a.conf));
  if (a.verbose) {
    std::fprintf(stderr, "session %s, volume %s at tag %s after %llu updates\n",
                 match.session.session.c_str(), state.name.c_str(), to_hex(*state.tag).c_str(),
                 static_cast<unsigned long long>(state.updates));
  }
  const auto storage = TRY(volume::open_posix_storage(match.folder));
  const auto volume = TRY(open_at(*storage, match, state));
  const std::vector<fs::path> places = TRY(free_places(*volume, a.outputs));
  TRY(volume->verify_all());
  std::deque<RemovedWhenInterrupted> half_made;  // half of a plaintext looks like a whole one
  for (const fs::path& place : places) half_made.emplace_back(place);
  return copy_out(*volume, a.outputs);
}

}  // namespace

void add_decrypt_command(CLI::App& app, Action& action) {
  auto* sub = app.add_subcommand("decrypt", "Tutorial, step 3: verify and decrypt the outputs");
  sub->footer(
      "The CAS is asked for the newest tag of the output volume. A state that is older, incomplete or "
      "changed "
      "ends with exit code 3, and nothing is written.\n"
      "Example: decrypt --conf KEYS --encryptedOutputs URL --decryptedOutputs OUTPUTS");
  const auto a = std::make_shared<Arguments>();
  sub->add_option("--conf", a->conf, "Folder with the keys, as encryptedpush left it")->capture_default_str();
  sub->add_option("--encryptedOutputs", a->source, "URL that step 2 printed, or a zip or folder from there")
      ->capture_default_str();
  sub->add_option("--decryptedOutputs", a->outputs, "Folder for the plaintext; no file there is overwritten")
      ->capture_default_str();
  sub->add_flag("-k,--insecure", a->insecure, "Do not check the TLS certificate of the transfer server");
  sub->add_flag("-v,--verbose", a->verbose, "Say more on standard error");
  sub->callback([a, &action] {
    action = [a] {
      watch_for_interruption();
      return finished(decrypt(*a));
    };
  });
}

}  // namespace cloister::cli
