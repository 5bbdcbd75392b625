// A folder of its own for each test and the few things all tests of this part do with files.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/files.h"
#include "crypto/random.h"

namespace cloister::transfer {

constexpr const char* kOnlyInLongTests =
    "takes minutes and more than 4 GiB of disk, or 66 000 files: `./dev test --long` runs it "
    "(CLOISTER_LONG_TESTS=1)";

class TransferTest : public ::testing::Test {
 protected:
  TransferTest() {
    std::string name = (std::filesystem::temp_directory_path() / "cloister-transfer-XXXXXX").string();
    CLOISTER_CHECK(::mkdtemp(name.data()) != nullptr);
    folder_ = name;
  }
  ~TransferTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  static void write(const std::filesystem::path& path, std::string_view text) {
    CLOISTER_CHECK(write_private_file(path, as_bytes(text)).ok());
  }
  static std::string read(const std::filesystem::path& path) {
    return std::string(as_text(read_file(path, 64 << 20).value()));
  }
  static std::string noise(size_t size) {
    Bytes bytes(size);
    crypto::random_bytes(bytes);
    return std::string(as_text(bytes));
  }
  static int shell(const std::string& command) { return ::system(command.c_str()); }

  static std::vector<std::string> names_in(const std::filesystem::path& folder) {
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      out.push_back(entry.path().filename().string());
    }
    std::sort(out.begin(), out.end());
    return out;
  }
  // Relative name → content; folders end in '/'.
  static std::map<std::string, std::string> tree_of(const std::filesystem::path& folder) {
    std::map<std::string, std::string> out;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
      const std::string name = std::filesystem::relative(entry.path(), folder).string();
      if (entry.is_directory()) {
        out[name + "/"] = "";
      } else {
        out[name] = read(entry.path());
      }
    }
    return out;
  }
  // folder_/tree with five entries.
  void make_tree() {
    std::filesystem::create_directories(folder_ / "tree/sub/empty");
    write(folder_ / "tree/a", "first");
    write(folder_ / "tree/none", "");
    write(folder_ / "tree/sub/large \xc3\xa4.bin", noise(3 << 20));
  }

  std::filesystem::path folder_;
};

}  // namespace cloister::transfer
