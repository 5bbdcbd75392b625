// Who may do what with a session: its access policy against the key that a client has proven to hold.
#pragma once

#include <optional>

#include "policy/session.h"

namespace cloister::cas {

// Nobody proven: only what is open to ANY.
using ClientKey = std::optional<crypto::Digest>;

bool allowed(const std::vector<policy::AccessEntry>& list, const crypto::Digest& creator,
             const ClientKey& client);

// `create_sessions`, or `update` when the session does not say.
const std::vector<policy::AccessEntry>& create_list(const policy::AccessPolicy& access);

}  // namespace cloister::cas
