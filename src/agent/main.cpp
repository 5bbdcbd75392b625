// agent.elf: the agent as the kernel starts it inside the enclave. Nothing here reads a file, a name
// service, a locale or an environment variable: all of these would be the host's.
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include <cstdlib>

#include "agent/agent.h"
#include "agent/las_source.h"
#include "agent/system_kernel.h"

int main() {
  using namespace cloister::agent;
  // glibc looks for the time zone even to break down UTC; this value means UTC without a file.
  ::setenv("TZ", ":", 1);
  OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, nullptr);
  SystemKernel kernel;
  AgentOptions options;
  options.open_evidence_source = open_las_source;
  // No destructors of static objects, no exit handlers: keys are wiped by their owners, the rest is the
  // kernel's.
  ::_exit(run_agent(kernel, options));
}
