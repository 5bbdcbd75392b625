#include "policy/session.h"

#include <algorithm>
#include <set>

#include "policy/canonical.h"
#include "policy/one_time_password.h"
#include "policy/parse_parts.h"
#include "policy/placeholders.h"

namespace cloister::policy {
namespace {

constexpr std::string_view kVersions[] = {"0.2",   "0.3",   "0.3.0",  "0.3.1",  "0.3.2",
                                          "0.3.3", "0.3.4", "0.3.5",  "0.3.6",  "0.3.7",
                                          "0.3.8", "0.3.9", "0.3.10", "0.3.11", "0.3.12"};

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         c == '.' || c == '~';
}

bool is_name_part(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNamePart && name != "." && name != ".." &&
         std::all_of(name.begin(), name.end(), is_name_character);
}

template <class T, class Read>
Result<void> read_list(const Fields& fields, std::string_view key, std::vector<T>& out, const Read& read) {
  const std::optional<Place> place = fields.find(key);
  if (!place) return {};
  const size_t count = TRY(place->sequence_size(kMaxEntries));
  out.reserve(count);
  std::set<std::string, std::less<>> names;
  for (size_t i = 0; i < count; ++i) {
    const Place item = place->element(i);
    T value = TRY(read(item));
    if (!names.insert(value.name).second)
      return item.malformed("the name `" + value.name + "` is used twice");
    out.push_back(std::move(value));
  }
  return {};
}

// References between sections. `root` gives positions.
class Checker {
 public:
  Checker(const Session& session, const Fields& fields) : session_(session), fields_(fields) {
    for (const SecretSpec& secret : session.secrets) secrets_.insert(secret.name);
    for (const Volume& volume : session.volumes) volumes_.insert(volume.name);
    for (const Image& image : session.images) images_.insert(image.name);
  }

  Result<void> check() const {
    TRY(each("services", session_.services,
             [this](const Service& s, const Place& at) { return service(s, at); }));
    TRY(each("images", session_.images, [this](const Image& i, const Place& at) { return image(i, at); }));
    TRY(each("volumes", session_.volumes,
             [this](const Volume& v, const Place& at) { return volume(v, at); }));
    const Security& security = session_.security;
    if (security.access_token.empty() && security.password_secret.empty()) return {};
    const Place at = TRY(fields_.require("security"));
    TRY(access_token(security.access_token, at));
    return password_secret(security.password_secret, at);
  }

 private:
  template <class T, class Check>
  Result<void> each(std::string_view key, const std::vector<T>& values, const Check& check) const {
    const std::optional<Place> place = fields_.find(key);
    if (!place) return {};
    for (size_t i = 0; i < values.size(); ++i) {
      const Place item = place->element(i);
      TRY(check(values[i], item));
    }
    return {};
  }

  Result<void> service(const Service& service, const Place& at) const {
    // A session without images may name one all the same; one with images means one of them.
    if (!service.image_name.empty() && !images_.empty() && !images_.contains(service.image_name)) {
      return at.malformed("image_name: there is no image `" + service.image_name + "`");
    }
    for (const std::string& word : service.command) TRY(references(word, at));
    for (const EnvironmentEntry& entry : service.environment) TRY(references(entry.value, at));
    return password_secret(service.password_secret, at);
  }

  Result<void> image(const Image& image, const Place& at) const {
    std::set<std::string_view> paths;
    std::set<std::string_view> names;
    for (const ImageVolume& volume : image.volumes) {
      if (!volumes_.contains(volume.name)) return at.malformed("there is no volume `" + volume.name + "`");
      if (!names.insert(volume.name).second)
        return at.malformed("volume `" + volume.name + "` is there twice");
      if (!paths.insert(volume.path).second) return at.malformed("two volumes at `" + volume.path + "`");
    }
    std::set<std::string_view> files;
    for (const InjectionFile& file : image.injection_files) {
      if (!files.insert(file.path).second) return at.malformed("two injection files at `" + file.path + "`");
      TRY(references(file.content, at));
    }
    return {};
  }

  Result<void> volume(const Volume& volume, const Place& at) const {
    if (volume.key_secret.empty()) return {};
    const SecretSpec* secret = session_.find_secret(volume.key_secret);
    if (secret == nullptr) return at.malformed("there is no secret `" + volume.key_secret + "`");
    const size_t size = secret->value ? secret->value->size() : secret->size;
    if (secret->kind == SecretKind::Binary && size == 32) return {};
    return at.malformed("a volume's key is a binary secret of 32 bytes");
  }

  Result<void> access_token(const std::string& text, const Place& at) const {
    TRY(references(text, at));
    const std::optional<SecretReference> reference = whole_reference(text);
    const SecretSpec* secret = reference ? session_.find_secret(reference->name) : nullptr;
    if (secret == nullptr || !secret->value || !secret->value->empty()) return {};
    return at.malformed("service_access_token: the secret `" + secret->name + "` is empty");
  }

  // Text was checked where it was read.
  Result<void> password_secret(const std::string& text, const Place& at) const {
    const std::optional<SecretReference> reference = whole_reference(text);
    if (!reference) return {};
    TRY(references(text, at));
    const SecretSpec* secret = session_.find_secret(reference->name);
    if (secret->kind == SecretKind::Ascii) return given_password_secret(*secret, at);
    const bool base32 =
        reference->format == SecretFormat::Base32 || reference->format == SecretFormat::Base32NoPad;
    if (!base32) return at.malformed("a one-time password's secret is base32: write :base32nopad");
    const size_t size = secret->value ? secret->value->size() : secret->size;
    if (size < kMinPasswordSecret) return at.malformed("a one-time password's secret has at least 16 bytes");
    return {};
  }

  Result<void> given_password_secret(const SecretSpec& secret, const Place& at) const {
    if (!secret.value) {
      return at.malformed(
          "a one-time password's secret is base32; a made one is a binary secret with :base32nopad");
    }
    const auto bytes = policy::password_secret(as_text(*secret.value));
    return bytes.ok() ? Result<void>() : Result<void>(at.malformed(bytes.error().message()));
  }

  Result<void> references(std::string_view text, const Place& at) const {
    const auto lookup = [&](const SecretReference& reference) -> Result<std::string> {
      const SecretSpec* secret = session_.find_secret(reference.name);
      if (secret == nullptr) return Error(Code::Malformed, "there is no secret `" + reference.name + "`");
      if (secret->kind == SecretKind::Ascii && reference.format != SecretFormat::Default) {
        return Error(Code::Malformed, "`" + reference.name + "` is an ascii secret: it has no formats");
      }
      return std::string();
    };
    const Result<std::string> expanded = expand_secrets(text, lookup);
    if (expanded.ok()) return {};
    return expanded.error().code() == Code::Unsupported ? at.unsupported(expanded.error().message())
                                                        : at.malformed(expanded.error().message());
  }

  const Session& session_;
  const Fields& fields_;
  std::set<std::string_view> secrets_, volumes_, images_;
};

Result<void> read_head(const Fields& fields, Session& session) {
  const Place name = TRY(fields.require("name"));
  session.name = TRY(name.string());
  if (!is_session_name(session.name)) {
    return name.malformed(
        "a name has 1 to 128 of the characters A-Z a-z 0-9 _ - . ~; / separates namespaces");
  }
  const std::optional<Place> version = fields.find("version");
  if (!version) {
    return fields.place().unsupported(
        "missing field `version`: language 0.1 is not read; write `version: \"0.3\"`");
  }
  session.version = TRY(version->string());
  if (std::find(std::begin(kVersions), std::end(kVersions), session.version) == std::end(kVersions)) {
    return version->unsupported("language version `" + session.version.substr(0, 32) +
                                "` is not known; 0.2 and 0.3 to 0.3.12 are");
  }
  if (const auto predecessor = fields.find("predecessor")) session.predecessor = TRY(predecessor->hex<32>());
  return {};
}

template <class T>
const T* find_named(const std::vector<T>& list, std::string_view name) {
  const auto found = std::find_if(list.begin(), list.end(), [&](const T& item) { return item.name == name; });
  return found == list.end() ? nullptr : &*found;
}

}  // namespace

bool is_session_name(std::string_view name) {
  if (name.size() > kMaxSessionName) return false;
  for (;;) {
    const size_t slash = name.find('/');
    if (!is_name_part(name.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    name.remove_prefix(slash + 1);
  }
}

std::string_view parent_namespace(std::string_view session_name) {
  const size_t slash = session_name.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : session_name.substr(0, slash);
}

Result<std::string> read_name(const Place& place) {
  std::string name = TRY(place.string());
  if (!is_name_part(name))
    return place.malformed("a name has 1 to 128 of the characters A-Z a-z 0-9 _ - . ~");
  return name;
}

Result<std::string> read_path(const Place& place) {
  std::string path = TRY(place.string());
  if (!path.starts_with('/') || path.size() > 4095) return place.malformed("expected an absolute path");
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  for (size_t at = 1; at < path.size() && path.size() > 1;) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = std::string_view(path).substr(at, end - at);
    if (part.empty() || part == "." || part == "..") {
      return place.malformed("a path must not have empty, `.` or `..` components");
    }
    at = end + 1;
  }
  return path;
}

Result<Session> parse_session(std::string_view text) {
  const Node tree = TRY(parse_yaml(text));
  const Place root(tree);
  const Fields fields =
      TRY(Fields::of(root,
                     {"name", "version", "predecessor", "services", "volumes", "images", "secrets",
                      "access_policy", "security", "creator", "namespace_hash", "salt", "secret_config"},
                     {"predecessor", "services", "volumes", "images", "secrets"}));
  TRY(fields.refuse({"namespace_hash", "salt", "secret_config"}, "not supported yet"));
  TRY(fields.refuse({"creator"}, "the creator is whoever uploads the session; leave it out"));
  Session session;
  session.mark = tree.mark;
  TRY(read_head(fields, session));
  TRY(read_list(fields, "services", session.services, read_service));
  TRY(read_list(fields, "volumes", session.volumes, read_volume));
  TRY(read_list(fields, "images", session.images, read_image));
  TRY(read_list(fields, "secrets", session.secrets, read_secret));
  if (const auto access = fields.find("access_policy")) {
    session.access = TRY(read_access_policy(*access));
    session.names_creator = access->node().mentions("CREATOR");
  }
  if (const auto security = fields.find("security")) session.security = TRY(read_security(*security));
  TRY(Checker(session, fields).check());
  session.canonical = canonical_form(tree);
  return session;
}

std::string_view Service::environment_value(std::string_view wanted) const {
  for (const EnvironmentEntry& entry : environment) {
    if (entry.name == wanted) return entry.value;
  }
  return {};
}

const Service* Session::find_service(std::string_view service) const { return find_named(services, service); }
const Image* Session::find_image(std::string_view image) const { return find_named(images, image); }
const Volume* Session::find_volume(std::string_view volume) const { return find_named(volumes, volume); }
const SecretSpec* Session::find_secret(std::string_view secret) const { return find_named(secrets, secret); }

}  // namespace cloister::policy
