#include "volume/errors.h"

namespace cloister::volume {

VolumeError::operator Error() const {
  switch (reason) {
    case Reason::NotFound:
    case Reason::NoData:
      return {Code::NotFound, message};
    case Reason::ReadOnly:
      return {Code::Denied, message};
    case Reason::NoSpace:
      return {Code::Unavailable, message, std::string(kNoSpaceHint)};
    case Reason::Io:
      return {Code::Unavailable, message};
    case Reason::Integrity:
    case Reason::Poisoned:
      return {Code::Integrity, message};
    default:
      return {Code::InvalidArgument, message};
  }
}

VolumeError from_storage(const Error& error) {
  Reason reason = Reason::Io;
  if (error.code() == Code::Integrity) reason = Reason::Integrity;
  if (error.code() == Code::NotFound) reason = Reason::NotFound;
  if (error.code() == Code::Unavailable && error.hint() == kNoSpaceHint) reason = Reason::NoSpace;
  return {reason, error.message()};
}

}  // namespace cloister::volume
