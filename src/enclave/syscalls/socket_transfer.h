// The bytes of a socket call, between the program's memory and the socket.
#pragma once

#include <span>

#include "enclave/syscalls/file_calls.h"
#include "enclave/vfs/socket.h"

namespace cloister::enclave {

// All of them, in as many pieces as it takes, if it is a stream; a message goes whole or not at all. What was
// moved before an error, a signal or the deadline counts, and the error is told by the next call.
SysResult<uint64_t> send_vectors(Socket& socket, std::span<const UserVector> vectors, Outgoing& outgoing);
SysResult<uint64_t> receive_vectors(Socket& socket, std::span<const UserVector> vectors, uint32_t flags,
                                    Incoming& incoming);

}  // namespace cloister::enclave
