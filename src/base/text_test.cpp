#include "base/text.h"

#include <gtest/gtest.h>

namespace cloister {
namespace {

TEST(Text, NothingOfAStrangerMovesATerminalsCursor) {
  EXPECT_EQ(printable("plain ä € \xf0\x9f\x98\x80"), "plain ä € \xf0\x9f\x98\x80");
  EXPECT_EQ(printable("a\nb\x1b[2Jc\x7f\\"), "a\\x0ab\\x1b[2Jc\\x7f\\x5c");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "\\xc2\\x9b31m")
      << "CSI of C1";
  EXPECT_EQ(printable("\x9b"
                      "31m"),
            "\\x9b31m");
  EXPECT_EQ(printable("\xc2\xa0"), "\xc2\xa0");
  EXPECT_EQ(printable("\xe2\x82"), "\\xe2\\x82") << "cut off";
  EXPECT_EQ(printable(std::string_view("\0", 1)), "\\x00");
}

TEST(Text, Utf8HasOneSpelling) {
  EXPECT_EQ(utf8_length("a"), 1u);
  EXPECT_EQ(utf8_length("ä"), 2u);
  EXPECT_EQ(utf8_length("€"), 3u);
  constexpr const char* kWrong[] = {"\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                    "\x80",     "\xff",         "\xc3"};
  for (const char* wrong : kWrong) EXPECT_EQ(utf8_length(wrong), 0u) << printable(wrong);
}

TEST(Text, PercentEscapesAreWholeOrRefused) {
  EXPECT_EQ(percent_decode("a%20b%2F+%c3%A4").value(), "a b/+ä");
  for (const char* wrong : {"%", "%4", "a%zz", "%4g"})
    EXPECT_EQ(percent_decode(wrong).error().code(), Code::Malformed) << wrong;
}

TEST(Text, SizesAreReadable) {
  EXPECT_EQ(format_size(0), "0 B");
  EXPECT_EQ(format_size(1023), "1023 B");
  EXPECT_EQ(format_size(1536), "1.5 KiB");
  EXPECT_EQ(format_size(5 << 20), "5.0 MiB");
  EXPECT_EQ(format_size(UINT64_MAX), "16.0 EiB");
}

}  // namespace
}  // namespace cloister
