// Quotes from the machine's quoting enclave by AESM, Intel's service (sgx-aesm-service, DCAP): the few
// messages of its protocol that it takes. A message is a u32 size, little-endian, and a Protocol Buffers
// encoding (proto2; Intel linux-sgx, psw/ae/aesm_service/source/core/ipc/messages.proto). Each connection
// carries one question.
//
// AESM is a process of the host: what it says is not trusted, and bounded. A wrong quote fails at whoever
// verifies it. Has not been run on SGX hardware: tested with a server that plays AESM (aesm_test.cpp).
#pragma once

#include <chrono>
#include <filesystem>
#include <vector>

#include "las/quoter.h"

namespace cloister::las {

inline constexpr const char* kAesmSocket = "/var/run/aesmd/aesm.socket";
inline constexpr size_t kMaxAesmReply = 128 << 10;    // bytes of one message
inline constexpr size_t kAttestationKeyIdSize = 256;  // sgx_att_key_id_ext_t (Intel DCAP, sgx_quote.h)
inline constexpr uint32_t kMaxAttestationKeys = 16;
inline constexpr uint32_t kAlgorithmEcdsaP256 = 2;  // sgx_ql_attestation_algorithm_id_t

// Numbers of the questions in Request and of their answers in Response.
enum class AesmMessage : uint32_t {
  InitQuoteEx = 15,
  GetQuoteSizeEx = 16,
  GetQuoteEx = 17,
  GetSupportedAttKeyIDNum = 21,
  GetSupportedAttKeyIDs = 22,
};

// One field of each kind that the questions have.
struct AesmRequest {
  AesmMessage message = AesmMessage::InitQuoteEx;
  Bytes key_id, report;
  bool with_public_key = false;
  uint64_t buffer_size = 0;
  uint32_t timeout_us = 0;
};
Bytes encode(const AesmRequest& request);  // without the size in front

// An answer's fields by what they mean; those that a message does not have stay as they are here.
struct AesmReply {
  uint64_t error = 0;
  Bytes data;           // target info, quote or key ids
  uint64_t number = 0;  // quote size, count of key ids, size of a public key id
};
// Malformed: not an encoding, another message's answer, or without an error code; numbers above 2^32 - 1.
Result<AesmReply> decode_aesm_reply(AesmMessage message, ByteView bytes);

struct AesmOptions {
  std::filesystem::path socket = kAesmSocket;
  std::chrono::milliseconds timeout{4000};  // of a whole quote, however many questions it takes
};
// Asks for the machine's ECDSA key and its quoting enclave. Unavailable: AESM is absent, slow, or answers
// with an error (the number is in the message); Denied: this user may not use its socket; Unsupported: it has
// no ECDSA key (the DCAP plug-in is missing); Malformed. `warm_up` bounds all of this call, during which AESM
// may fetch certificates. What is learnt here serves every quote, until AESM refuses one: then it is asked
// anew, once.
Result<std::unique_ptr<Quoter>> aesm_quoter(const AesmOptions& options,
                                            std::chrono::milliseconds warm_up = std::chrono::seconds(30));

}  // namespace cloister::las
