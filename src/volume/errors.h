// Between the two error types of the library: operations on files fail with a Reason that becomes an errno,
// storage and opening fail with a Code that becomes an exit code.
#pragma once

#include <utility>

#include "volume/volume.h"

namespace cloister::volume {

VolumeError from_storage(const Error& error);

template <class T>
VolumeResult<T> lift(Result<T> result) {
  if (!result.ok()) return from_storage(std::move(result).error());
  if constexpr (std::is_void_v<T>) {
    return {};
  } else {
    return std::move(result).value();
  }
}

template <class T>
Result<T> lower(VolumeResult<T> result) {
  if (!result.ok()) return static_cast<Error>(result.error());
  if constexpr (std::is_void_v<T>) {
    return {};
  } else {
    return std::move(result).value();
  }
}

// False: what was read is not what was written. Fails where it cannot be read.
template <class T>
Result<bool> intact(const VolumeResult<T>& result) {
  if (!result.ok() && result.error().reason != Reason::Integrity) return static_cast<Error>(result.error());
  return result.ok();
}

inline VolumeError damaged(std::string message) { return {Reason::Integrity, std::move(message)}; }

}  // namespace cloister::volume
