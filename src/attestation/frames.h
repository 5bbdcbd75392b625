// One message at a time over a TLS stream: type, size, payload, with the type's size limit enforced before
// anything is allocated.
#pragma once

#include "attestation/messages.h"
#include "crypto/tls.h"

namespace cloister::attestation {

struct Frame {
  MessageType type;
  SecretBytes payload;  // a configuration is secret; the others lose nothing by being wiped
};

// Malformed for an unknown type or a size over the type's limit. Unavailable when the peer is gone or late.
Result<Frame> read_frame(crypto::TlsStream& stream, Deadline deadline);
Result<void> write_frame(crypto::TlsStream& stream, MessageType type, ByteView payload, Deadline deadline);

}  // namespace cloister::attestation
