// Makes an enclave image (docs/formats/image.md) from a program or a folder: root volume, manifest,
// signature.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "sgx/image.h"

namespace cloister::sgx {

struct BuildOptions {
  struct Item {
    std::filesystem::path host;
    std::string inside;  // absolute; empty: see add_program, and for copies the host's path
  };
  std::vector<Item> programs;  // with their libraries; the first is the entry unless `entry` is given
  std::filesystem::path root;  // a folder that becomes "/"; empty: none
  std::vector<Item> copies;    // files and folders as they are
  std::string entry;           // path inside
  std::filesystem::path kernel, agent;  // kernel.elf, agent.elf
  std::filesystem::path signing_key;    // made when it does not exist
  uint16_t isv_prod_id = 0, isv_svn = 0;
  Manifest manifest;  // name, heap, stack, threads, debug, mounts; the rest is filled in
};

struct BuildReport {
  Measurement mrenclave{}, mrsigner{};
  Manifest manifest;
};

// Writes `out` as a whole or not at all; an image that is there (its manifest decodes) is replaced, anything
// else is not (InvalidArgument). Errors of what goes in name it.
Result<BuildReport> build_image(const BuildOptions& options, const std::filesystem::path& out);

}  // namespace cloister::sgx
