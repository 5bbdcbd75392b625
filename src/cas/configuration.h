// From a session's service to what its enclave is started with: secrets and arguments put in, limits of the
// configuration checked. A pure function; secrets come through a callback.
//
// What the host gives (arguments) is put in after secrets were found, so a host cannot make its text name a
// secret, and a secret cannot make itself an argument's place.
#pragma once

#include "boundary/config.h"
#include "policy/placeholders.h"
#include "policy/session.h"

namespace cloister::cas {

// Everything but instance id and mounts. InvalidArgument: what the host gave does not fit (its message may be
// shown to the host). Malformed: the session cannot be filled in; for its owner's eyes.
Result<boundary::EnclaveConfig> build_configuration(const policy::Session& session,
                                                    const policy::Service& service,
                                                    const std::vector<std::string>& host_arguments,
                                                    const policy::SecretLookup& secrets);

// The whole is one that the enclave's end would take.
Result<SecretBytes> checked_encoding(const boundary::EnclaveConfig& config);

boundary::UpdatePolicy update_policy_of(const policy::Volume& volume, const policy::ImageVolume& mount);

}  // namespace cloister::cas
