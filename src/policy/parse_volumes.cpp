// volumes[], images[] and secrets[].
#include "policy/parse_parts.h"
#include "policy/placeholders.h"

namespace cloister::policy {
namespace {

constexpr uint64_t kMaxSecretSize = 4096;

Result<uint16_t> read_permission(const Place& place) {
  const std::string text = TRY(place.raw_scalar());
  if (!text.starts_with("0o") || text.size() > 6) return place.malformed("a permission is written 0o400");
  uint16_t mode = 0;
  for (const char c : text.substr(2)) {
    if (c < '0' || c > '7') return place.malformed("a permission is written 0o400");
    mode = static_cast<uint16_t>(mode * 8 + (c - '0'));
  }
  if (mode > 0777) return place.malformed("a permission has nine bits");
  return mode;
}

Result<InjectionFile> read_injection_file(const Place& place) {
  static constexpr std::string_view kTemplates =
      "only files with `content` can be injected; templates on disk are not supported yet";
  if (place.node().is_scalar()) return place.unsupported(kTemplates);
  const Fields fields = TRY(Fields::of(place, {"path", "content", "permission"}));
  InjectionFile file;
  const Place path = TRY(fields.require("path"));
  file.path = TRY(read_path(path));
  if (file.path == "/") return path.malformed("expected the path of a file");
  // An empty content is a string; only an absent one asks for a template.
  if (!fields.has("content")) return place.unsupported(kTemplates);
  file.content = TRY(fields.string("content"));
  if (const auto permission = fields.find("permission")) file.mode = TRY(read_permission(*permission));
  return file;
}

Result<ImageVolume> read_image_volume(const Place& place) {
  const Fields fields = TRY(Fields::of(place, {"name", "path", "update_policy"}));
  ImageVolume volume;
  const Place name = TRY(fields.require("name"));
  volume.name = TRY(read_name(name));
  const Place path = TRY(fields.require("path"));
  volume.path = TRY(read_path(path));
  if (const auto policy = fields.find("update_policy"))
    volume.update_policy = TRY(read_update_policy(*policy));
  return volume;
}

Result<Bytes> read_secret_value(const Place& place, SecretKind kind) {
  const bool ascii = kind == SecretKind::Ascii;
  const std::string text = TRY(ascii ? place.string() : place.raw_scalar());
  if (ascii) return Bytes(text.begin(), text.end());
  Result<Bytes> bytes = from_hex(text);
  if (!bytes.ok()) return place.malformed("the value of a binary secret is hex digits");
  return bytes;
}

}  // namespace

Result<UpdatePolicy> read_update_policy(const Place& place) {
  const std::string text = TRY(place.string());
  if (text == "rollback_protected") return UpdatePolicy::RollbackProtected;
  if (text == "ephemeral") return UpdatePolicy::Ephemeral;
  if (text == "no_rollback_protection") return UpdatePolicy::NoRollbackProtection;
  return place.malformed(
      "unknown update policy, expected one of `rollback_protected`, `ephemeral`, `no_rollback_protection`");
}

Result<Volume> read_volume(const Place& place) {
  const Fields fields =
      TRY(Fields::of(place, {"name", "fspf_key", "fspf_tag", "update_policy", "files", "export", "import"}));
  TRY(fields.refuse({"export", "import"}, "sharing volumes between sessions is not supported yet"));
  Volume volume;
  volume.mark = place.node().mark;
  const Place name = TRY(fields.require("name"));
  volume.name = TRY(read_name(name));
  const std::optional<Place> key = fields.find("fspf_key");
  const std::optional<Place> tag = fields.find("fspf_tag");
  if (key.has_value() != tag.has_value()) {
    return (key ? *key : *tag).malformed("fspf_key and fspf_tag go together");
  }
  if (key) {
    const std::string text = TRY(key->raw_scalar());
    if (const auto reference = whole_reference(text)) {
      volume.key_secret = reference->name;
    } else {
      const ByteArray<32> bytes = TRY(key->hex<32>());
      volume.key = Key256(bytes);
    }
    volume.tag = TRY(tag->hex<16>());
  }
  if (const auto policy = fields.find("update_policy"))
    volume.update_policy = TRY(read_update_policy(*policy));
  if (const auto files = fields.find("files")) {
    const std::string kind = TRY(files->string());
    if (kind != "encrypted") return files->unsupported("only `encrypted` is supported");
  }
  return volume;
}

Result<Image> read_image(const Place& place) {
  const Fields fields = TRY(Fields::of(place, {"name", "volumes", "injection_files", "provide_secrets"},
                                       {"volumes", "injection_files"}));
  Image image;
  image.name = TRY(fields.string("name"));
  if (image.name.empty() || image.name.size() > kMaxSessionName) {
    return place.malformed("an image's name has 1 to 512 characters");
  }
  if (const auto volumes = fields.find("volumes")) {
    const size_t count = TRY(volumes->sequence_size(kMaxEntries));
    for (size_t i = 0; i < count; ++i) {
      const Place item = volumes->element(i);
      image.volumes.push_back(TRY(read_image_volume(item)));
    }
  }
  if (const auto files = fields.find("injection_files")) {
    const size_t count = TRY(files->sequence_size(kMaxEntries));
    for (size_t i = 0; i < count; ++i) {
      const Place item = files->element(i);
      image.injection_files.push_back(TRY(read_injection_file(item)));
    }
  }
  // It restricts two things that do not exist here, so an empty list is met and any other is not.
  if (const auto secrets = fields.find("provide_secrets")) {
    const size_t count = TRY(secrets->sequence_size(kMaxEntries));
    if (count != 0) {
      return secrets->unsupported("programs get secrets by arguments, environment and injected files only");
    }
  }
  return image;
}

Result<SecretSpec> read_secret(const Place& place) {
  const Fields fields = TRY(Fields::of(
      place, {"name",          "kind",        "size",       "value",     "export",
              "export_public", "import",      "import_akv", "key_type",  "private_key",
              "issuer",        "common_name", "endpoint",   "dns",       "san",
              "valid_for",     "migrate",     "tenant_id",  "client_id", "application_secret",
              "signer",        "alg",         "validity",   "payload",   "certificate_thumbprint"}));
  TRY(fields.refuse({"export", "import", "import_akv"},
                    "sharing secrets between sessions is not supported yet"));
  SecretSpec secret;
  secret.mark = place.node().mark;
  const Place name = TRY(fields.require("name"));
  secret.name = TRY(read_name(name));
  const Place kind = TRY(fields.require("kind"));
  const std::string word = TRY(kind.string());
  if (word == "binary") {
    secret.kind = SecretKind::Binary;
  } else if (word != "ascii") {
    return kind.unsupported("only secrets of kind `ascii` and `binary` are supported yet");
  }
  TRY(fields.refuse({"key_type", "private_key", "issuer", "common_name", "endpoint", "dns", "san",
                     "valid_for", "migrate", "tenant_id", "client_id", "application_secret", "signer", "alg",
                     "validity", "payload", "certificate_thumbprint"},
                    "not a field of this kind of secret"));
  if (const auto size = fields.find("size")) {
    secret.size = static_cast<uint32_t>(TRY(size->integer(kMaxSecretSize)));
    if (secret.size == 0) return size->malformed("a secret has at least one byte");
  }
  if (const auto value = fields.find("value")) secret.value = TRY(read_secret_value(*value, secret.kind));
  if (const auto exported = fields.find("export_public")) secret.export_public = TRY(exported->boolean());
  return secret;
}

}  // namespace cloister::policy
