// From kernel, manifest and thread count to the exact list of pages of the enclave. The measurer and the
// loader both walk this one list, so what is measured is what is loaded.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "sgx/layout.h"
#include "sgx/manifest.h"
#include "sgx/measurement.h"
#include "sgx/sigstruct.h"

namespace cloister::sgx {

struct ImagePage {
  uint64_t offset;         // = address: ELRANGE starts at 0
  uint64_t secinfo_flags;  // R, W, X and the page type
  bool measured;           // false: EADDed zero page whose content nobody relies on
  const uint8_t* content;  // 4096 bytes inside the plan, or nullptr for zeros
};

struct ImagePlan {
  std::vector<ImagePage> pages;  // ascending offsets: the order of EADD
  uint64_t entry = 0;            // OENTRY
  Manifest manifest;
  Measurement mrenclave{};  // zero until it is measured
  Attributes attributes{};
  uint32_t misc_select = kMiscExInfo;

  std::vector<Bytes> storage;          // owns the contents,
  std::shared_ptr<const void> kernel;  // with the file that some are in
};

// `kernel_elf`: static-pie, x86-64, relative relocations only; it is relocated here to kKernelAddress.
// Malformed or Unsupported with what is wrong about it.
Result<ImagePlan> plan_image(Bytes kernel_elf, const Manifest& manifest);
Measurement measure(const ImagePlan& plan, const Measurer::Sink& sink = {});

// The files of an image folder (docs/formats/image.md).
struct ImageFiles {
  std::filesystem::path folder;
  std::filesystem::path manifest() const { return folder / "manifest"; }
  std::filesystem::path sigstruct() const { return folder / "sigstruct"; }
  std::filesystem::path kernel() const { return folder / "kernel.elf"; }
  std::filesystem::path agent() const { return folder / "agent.elf"; }
  std::filesystem::path root() const { return folder / "root"; }
};

struct LoadedImage {
  ImagePlan plan;
  SigStruct sigstruct{};
};
// Reads the folder, plans it, and checks that SIGSTRUCT is valid. Whoever loads the image measures it
// meanwhile and then asks accept_measurement, as EINIT does. NotFound, Malformed, Integrity.
Result<LoadedImage> open_image(const std::filesystem::path& folder);
// The plan's MRENCLAVE becomes `measured`. Integrity "MRENCLAVE …" when it is not what was signed.
Result<void> accept_measurement(LoadedImage& image, const Measurement& measured);
// Both, for who does not load it.
Result<LoadedImage> load_image(const std::filesystem::path& folder);
// Without looking at SIGSTRUCT: what `cloister hash` prints.
Result<Measurement> measure_folder(const std::filesystem::path& folder);
// Writes the .sgxs stream of the image; returns its MRENCLAVE.
Result<Measurement> export_sgxs(const std::filesystem::path& folder, const std::filesystem::path& out);

}  // namespace cloister::sgx
