// What the tests of volumes share.
#pragma once

#include "volume/volume.h"

namespace cloister::volume {

// Any one key will do.
inline Key test_key(uint8_t byte) {
  Key key;
  key.expose().fill(byte);
  return key;
}

}  // namespace cloister::volume
