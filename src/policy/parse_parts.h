// The readers of a session's sections, one per file-sized concern; session.cpp puts them together.
#pragma once

#include "policy/reader.h"
#include "policy/session.h"

namespace cloister::policy {

Result<std::string> read_name(const Place& place);  // a service, volume, image or secret name
Result<std::string> read_path(const Place& place);  // absolute and normalised
Result<UpdatePolicy> read_update_policy(const Place& place);
// one_time_password_shared_secret; empty when absent. What stands in the text is checked; that a reference
// leads to a fitting secret is checked with the other references.
Result<std::string> read_password_secret(const Fields& fields);

Result<Service> read_service(const Place& place);
Result<Volume> read_volume(const Place& place);
Result<Image> read_image(const Place& place);
Result<SecretSpec> read_secret(const Place& place);
Result<AccessPolicy> read_access_policy(const Place& place);
Result<Security> read_security(const Place& place);

}  // namespace cloister::policy
