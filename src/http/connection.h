// One connection of the server: requests one after the other, each read, handled and answered.
#pragma once

#include "http/request_parser.h"
#include "http/transport.h"

namespace cloister::http {

// Serves until the peer closes, a limit is met, a request is malformed or an answer says so.
void serve_connection(Transport transport, const Peer& peer, const ServerOptions& options,
                      const Handler& handler);

// A whole small answer that also ends the connection, for what never reaches a handler.
std::string closing_answer(const ServerOptions& options, const BadRequest& why);

}  // namespace cloister::http
