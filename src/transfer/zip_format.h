// Numbers of the zip format (APPNOTE.TXT 6.3.9) that writer and reader share.
#pragma once

#include <cstdint>

namespace cloister::transfer {

inline constexpr uint32_t kLocalHeader = 0x04034b50;     // 4.3.7
inline constexpr uint32_t kCentralHeader = 0x02014b50;   // 4.3.12
inline constexpr uint32_t kZip64End = 0x06064b50;        // 4.3.14
inline constexpr uint32_t kZip64Locator = 0x07064b50;    // 4.3.15
inline constexpr uint32_t kEndOfDirectory = 0x06054b50;  // 4.3.16
inline constexpr uint64_t kLocalHeaderSize = 30;
inline constexpr uint64_t kCentralHeaderSize = 46;
inline constexpr uint64_t kZip64EndSize = 56;
inline constexpr uint64_t kZip64LocatorSize = 20;
inline constexpr uint64_t kEndSize = 22;
inline constexpr uint16_t kExtraZip64 = 0x0001;  // 4.5.3
inline constexpr uint16_t kExtraTime = 0x5455;   // 4.6.1, "UT": flags, seconds since 1970
inline constexpr uint16_t kStored = 0, kDeflated = 8;
inline constexpr uint16_t kFlagEncrypted = 0x0001, kFlagDescriptor = 0x0008, kFlagUtf8 = 0x0800;
inline constexpr uint16_t kFlagMasked = 0x2000;
inline constexpr uint16_t kMadeByUnix = 3 << 8;
inline constexpr uint32_t kMax32 = 0xffffffff;  // "look into the zip64 field"
inline constexpr uint16_t kMax16 = 0xffff;

}  // namespace cloister::transfer
