// Alone in its file: a program that brings its own `serve` does not link this one.
#include "host/process.h"

namespace cloister::host {

void serve(HostProcess& process, HostThread& thread) { answer(process, thread); }

}  // namespace cloister::host
