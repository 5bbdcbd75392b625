// GET /v1/attest: the service proves which enclave holds the key of this connection.
#pragma once

#include <nlohmann/json.hpp>

#include "cas/evidence.h"
#include "cas/store.h"
#include "http/server.h"

namespace cloister::cas {

// InvalidArgument: no nonce of 64 hex digits, or `seen` is no number. NotFound: there is no source, as
// outside of an enclave. Unavailable: the LAS.
Result<nlohmann::ordered_json> attest_answer(const http::RequestHead& request, const EvidenceSource& source,
                                             const crypto::Digest& service_key, Store& store);

}  // namespace cloister::cas
