// Certificates and revocation lists as JSON, for inspect.cpp. Include only in .cpp files.
#pragma once

#include <nlohmann/json.hpp>

#include "base/bytes.h"

namespace cloister::attestation {

using OrderedJson = nlohmann::ordered_json;

// PEM blocks, or one DER certificate after the other; at most 8.
Result<OrderedJson> inspect_certificates(ByteView pem_or_der);
// DER, PEM or hex digits.
Result<OrderedJson> inspect_pck_extension(ByteView der);
Result<OrderedJson> inspect_crl(ByteView bytes);

}  // namespace cloister::attestation
