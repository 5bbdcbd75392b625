#include "cas/configuration.h"

namespace cloister::cas {
namespace {

constexpr std::string_view kOpen = "$$SCONE::";
constexpr std::string_view kClose = "$$";

// A word of the command: secrets between, host arguments outside of references.
Result<std::string> expand_word(std::string_view word, const std::vector<std::string>& arguments,
                                const policy::SecretLookup& secrets) {
  std::string out;
  while (!word.empty()) {
    const size_t begin = std::min(word.find(kOpen), word.size());
    out += TRY(policy::expand_arguments(word.substr(0, begin), arguments));
    word.remove_prefix(begin);
    if (word.empty()) break;
    const size_t close = word.find(kClose, kOpen.size());
    const size_t end = close == std::string_view::npos ? word.size() : close + kClose.size();
    out += TRY(policy::expand_secrets(word.substr(0, end), secrets));
    word.remove_prefix(end);
  }
  return out;
}

Result<void> check_text(std::string_view text, const std::string& what) {
  if (text.find('\0') != std::string_view::npos) {
    return Error(Code::Malformed, what + " has a NUL: give a binary secret a format, like :hex");
  }
  if (text.size() > boundary::kMaxConfigString) return Error(Code::Malformed, what + " is too long");
  return {};
}

}  // namespace

boundary::UpdatePolicy update_policy_of(const policy::Volume& volume, const policy::ImageVolume& mount) {
  switch (mount.update_policy.value_or(volume.update_policy)) {
    case policy::UpdatePolicy::RollbackProtected:
      return boundary::UpdatePolicy::RollbackProtected;
    case policy::UpdatePolicy::Ephemeral:
      return boundary::UpdatePolicy::Ephemeral;
    case policy::UpdatePolicy::NoRollbackProtection:
      return boundary::UpdatePolicy::NoRollbackProtection;
  }
  return boundary::UpdatePolicy::RollbackProtected;
}

Result<boundary::EnclaveConfig> build_configuration(const policy::Session& session,
                                                    const policy::Service& service,
                                                    const std::vector<std::string>& host_arguments,
                                                    const policy::SecretLookup& secrets) {
  boundary::EnclaveConfig config;
  for (const std::string& word : service.command) {
    std::string argument = TRY(expand_word(word, host_arguments, secrets));
    TRY(check_text(argument, "argument " + std::to_string(config.argv.size())));
    config.argv.push_back(std::move(argument));
  }
  for (const policy::EnvironmentEntry& entry : service.environment) {
    // The protocol carries no host environment, so a variable of the host's is empty.
    std::string value;
    if (!entry.from_host) value = TRY(policy::expand_secrets(entry.value, secrets));
    TRY(check_text(value, "variable " + entry.name));
    config.environment.push_back(entry.name + "=" + value);
  }
  config.working_directory = service.pwd;
  const policy::Image* image = session.find_image(service.image_name);
  if (image == nullptr) return config;
  for (const policy::InjectionFile& file : image->injection_files) {
    std::string content = TRY(policy::expand_secrets(file.content, secrets));
    boundary::InjectedFile injected;
    injected.path = file.path;
    injected.mode = file.mode;
    injected.content = SecretBytes(Bytes(content.begin(), content.end()));
    wipe(content.data(), content.size());
    config.files.push_back(std::move(injected));
  }
  return config;
}

Result<SecretBytes> checked_encoding(const boundary::EnclaveConfig& config) {
  SecretBytes bytes = boundary::encode_config(config);
  const Result<boundary::EnclaveConfig> decoded = boundary::decode_config(bytes.expose());
  if (!decoded.ok()) return Error(Code::Malformed, decoded.error().message());
  return bytes;
}

}  // namespace cloister::cas
