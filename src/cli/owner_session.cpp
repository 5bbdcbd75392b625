#include "cli/owner_session.h"

#include <algorithm>
#include <optional>

#include "attestation/json.h"
#include "base/files.h"
#include "crypto/random.h"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
using attestation::Json;

constexpr const char* kFile = "session.json";
constexpr size_t kMaxFile = 64 << 10;
constexpr size_t kNumberDigits = 26;

// A digit without bias: bytes from 250 on are drawn again.
char random_digit() {
  uint8_t byte = 255;
  while (byte >= 250) byte = crypto::random_array<1>()[0];
  return static_cast<char>('0' + byte % 10);
}

nlohmann::ordered_json to_json(const OwnerVolume& volume) {
  return {
      {"name", volume.name}, {"path", volume.path}, {"id", to_hex(volume.id)}, {"tag", to_hex(volume.tag)}};
}

std::string text_of(const Json& object, const char* key) {
  const auto at = object.find(key);
  return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

Result<OwnerVolume> volume_from(const Json& object, const char* key) {
  const auto at = object.find(key);
  if (at == object.end() || !at->is_object()) return Error(Code::Malformed, std::string(key) + " is missing");
  OwnerVolume volume;
  volume.name = text_of(*at, "name");
  volume.path = text_of(*at, "path");
  volume.id = TRY(array_from_hex<16>(text_of(*at, "id")));
  volume.tag = TRY(array_from_hex<16>(text_of(*at, "tag")));
  return volume;
}

Result<OwnerSession> load(const fs::path& folder) {
  const Bytes text = TRY(read_file(folder / kFile, kMaxFile));
  const Json json = TRY(attestation::parse_json_object(as_text(text), kMaxFile, "the record"));
  OwnerSession session;
  session.folder = folder;
  session.session = text_of(json, "session");
  session.service = text_of(json, "service");
  session.cas = text_of(json, "cas");
  session.url = text_of(json, "url");
  session.created = text_of(json, "created");
  session.input = TRY(volume_from(json, "input"));
  session.output = TRY(volume_from(json, "output"));
  if (session.session.empty() || session.cas.empty() || session.output.name.empty())
    return Error(Code::Malformed, "a name is missing");
  return session;
}

}  // namespace

Result<void> OwnerSession::save() const {
  const nlohmann::ordered_json json = {
      {"session", session},      {"service", service},       {"cas", cas}, {"url", url}, {"created", created},
      {"input", to_json(input)}, {"output", to_json(output)}};
  const std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  return write_private_file(folder / kFile, as_bytes(text));
}

std::string random_session_number() {
  std::string number;
  while (number.size() < kNumberDigits) {
    const char digit = random_digit();
    if (!number.empty() || digit != '0') number += digit;
  }
  return number;
}

Result<fs::path> make_session_folder(const fs::path& conf, const std::string& number) {
  const fs::path folder = conf / "sessions" / number;
  TRY(make_private_folder(folder));
  return folder;
}

Result<std::vector<OwnerSession>> load_sessions(const fs::path& conf) {
  const fs::path folder = conf / "sessions";
  std::vector<OwnerSession> sessions;
  std::optional<Error> broken;  // one damaged file must not take the others with it
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    Result<OwnerSession> session = load(at->path());
    // A folder without the file is one whose encryptedpush did not finish.
    if (!session.ok() && session.error().code() == Code::NotFound) continue;
    if (session.ok()) {
      sessions.push_back(std::move(*session));
    } else {
      broken = std::move(session.error()).within((at->path() / kFile).string());
    }
  }
  if (sessions.empty() && broken) return *broken;
  if (sessions.empty()) {
    return Error(Code::NotFound, "there is no session in " + folder.string(),
                 "give with --conf the folder that encryptedpush used: the keys are there");
  }
  std::sort(sessions.begin(), sessions.end(),
            [](const OwnerSession& a, const OwnerSession& b) { return a.created > b.created; });
  return sessions;
}

}  // namespace cloister::cli
