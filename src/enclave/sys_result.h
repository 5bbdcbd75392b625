// SysResult<T>: a value or an errno, the currency of system calls. See base/result.h for the rules.
#pragma once

#include "base/result.h"
#include "enclave/errno.h"

namespace cloister::enclave {

template <class T>
using SysResult = BasicResult<T, Errno>;

}  // namespace cloister::enclave
