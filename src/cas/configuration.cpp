#include "cas/configuration.h"

namespace cloister::cas {
namespace {

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
  const auto with_arguments = [&host_arguments](std::string_view text) {
    return policy::expand_arguments(text, host_arguments);
  };
  for (const std::string& word : service.command) {
    std::string argument = TRY(policy::expand_secrets(word, secrets, with_arguments));
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
