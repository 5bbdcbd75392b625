#include "cas/access.h"

#include <algorithm>

namespace cloister::cas {

bool allowed(const std::vector<policy::AccessEntry>& list, const crypto::Digest& creator,
             const ClientKey& client) {
  using Kind = policy::AccessEntry::Kind;
  return std::any_of(list.begin(), list.end(), [&](const policy::AccessEntry& entry) {
    switch (entry.kind) {
      case Kind::Any:
        return true;
      case Kind::None:
        return false;
      case Kind::Creator:
        return client && *client == creator;
      case Kind::Key:
        return client && *client == entry.key;
    }
    return false;
  });
}

const std::vector<policy::AccessEntry>& create_list(const policy::AccessPolicy& access) {
  return access.create_sessions ? *access.create_sessions : access.update;
}

}  // namespace cloister::cas
