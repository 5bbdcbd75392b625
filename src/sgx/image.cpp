#include "sgx/image.h"

#include <elf.h>

#include <algorithm>
#include <fstream>
#include <map>

#include "base/files.h"
#include "sgx/elf.h"

namespace cloister::sgx {
namespace {

constexpr size_t kKernelFileLimit = 64u << 20;
constexpr uint64_t kRelative = R_X86_64_RELATIVE;

Error bad_kernel(std::string_view what) { return Error(Code::Malformed, "kernel.elf: " + std::string(what)); }

uint64_t page_up(uint64_t size) { return (size + kPageSize - 1) / kPageSize * kPageSize; }

void add_pages(ImagePlan& plan, uint64_t offset, uint64_t flags, bool measured, Bytes content) {
  const size_t count = content.size() / kPageSize;
  plan.storage.push_back(std::move(content));
  const uint8_t* data = plan.storage.back().data();
  for (size_t i = 0; i < count; ++i) {
    plan.pages.push_back({offset + i * kPageSize, flags | kPageTypeRegular, measured, data + i * kPageSize});
  }
}

void add_zero_pages(ImagePlan& plan, uint64_t offset, uint64_t size, bool measured) {
  for (uint64_t at = 0; at < size; at += kPageSize) {
    plan.pages.push_back({offset + at, kPageRead | kPageWrite | kPageTypeRegular, measured, nullptr});
  }
}

// The kernel's pages, relocated. Index = address in the ELF file. Pages that the file holds as they will be
// stay there, because copying them would be a good part of a start.
struct KernelPage {
  uint64_t flags;  // R, W, X
  const uint8_t* content;
};
struct KernelImage {
  std::map<uint64_t, KernelPage> pages;
  std::map<uint64_t, Bytes> made;  // runs of pages that are not the file's
  uint64_t size = 0;
};

bool whole_in_file(const ElfSegment& segment, uint64_t page) {
  return (segment.flags & PF_W) == 0 && page >= segment.address &&
         page - segment.address + kPageSize <= segment.file_size;
}

// The pages [begin, end) of a segment: its bytes of the file, and zeros around them.
Bytes make_pages(const ElfFile& elf, const ElfSegment& segment, uint64_t begin, uint64_t end) {
  Bytes out(end - begin);
  const uint64_t from = std::max(begin, segment.address);
  const uint64_t to = std::min(end, segment.address + segment.file_size);
  if (from < to)
    std::memcpy(out.data() + (from - begin), elf.bytes.data() + segment.offset + (from - segment.address),
                to - from);
  return out;
}

Result<void> map_segment(KernelImage& image, const ElfFile& elf, const ElfSegment& segment) {
  if (segment.memory_size > kKernelLimit || segment.address > kKernelLimit - segment.memory_size)
    return bad_kernel("larger than its place in the enclave");
  const uint64_t end = page_up(segment.address + segment.memory_size);
  const uint64_t flags = ((segment.flags & PF_R) ? kPageRead : 0) |
                         ((segment.flags & PF_W) ? kPageWrite : 0) |
                         ((segment.flags & PF_X) ? kPageExecute : 0);
  for (uint64_t page = segment.address / kPageSize * kPageSize; page < end;) {
    uint64_t next = page + kPageSize;
    const uint8_t* content = nullptr;
    if (whole_in_file(segment, page)) {
      content = elf.bytes.data() + segment.offset + (page - segment.address);
    } else {
      while (next < end && !whole_in_file(segment, next)) next += kPageSize;
      content = (image.made[page] = make_pages(elf, segment, page, next)).data();
    }
    for (; page < next; page += kPageSize, content += kPageSize) {
      if (!image.pages.emplace(page, KernelPage{flags, content}).second)
        return bad_kernel("two segments share a page");
    }
  }
  image.size = std::max(image.size, end);
  return {};
}

Result<KernelImage> map_kernel(const ElfFile& elf) {
  KernelImage image;
  for (const ElfSegment& segment : elf.segments) {
    if (segment.type == PT_LOAD) TRY(map_segment(image, elf, segment));
  }
  if (image.pages.empty()) return bad_kernel("nothing to load");
  return image;
}

Result<void> relocate(KernelImage& image, const ElfFile& elf) {
  if (elf.other_relocations) return bad_kernel("has relocations other than relative ones");
  if (elf.rela_size == 0) return {};
  const ByteView table = TRY(elf.at_address(elf.rela_address, elf.rela_size));
  for (size_t at = 0; at + sizeof(Elf64_Rela) <= table.size(); at += sizeof(Elf64_Rela)) {
    Elf64_Rela entry;
    std::memcpy(&entry, table.data() + at, sizeof(entry));
    if (ELF64_R_TYPE(entry.r_info) != kRelative)
      return bad_kernel("has relocations other than relative ones");
    const auto page = image.pages.find(entry.r_offset / kPageSize * kPageSize);
    if (page == image.pages.end() || (page->second.flags & kPageWrite) == 0)
      return bad_kernel("a relocation of what is not writable");
    const auto run =
        std::prev(image.made.upper_bound(entry.r_offset));  // has all pages of a writable segment
    Bytes& made = run->second;
    const uint64_t within = entry.r_offset - run->first;
    if (within > made.size() - 8) return bad_kernel("a relocation of what is not writable");
    store_le<uint64_t>(made.data() + within, kKernelAddress + static_cast<uint64_t>(entry.r_addend));
  }
  return {};
}

BootInfo boot_info(const Manifest& manifest, uint64_t manifest_size, uint64_t kernel_size) {
  BootInfo info{};
  info.magic = kBootMagic;
  info.version = 1;
  info.threads = manifest.threads;
  info.manifest_address = kManifestAddress;
  info.manifest_size = manifest_size;
  info.kernel_address = kKernelAddress;
  info.kernel_size = kernel_size;
  info.thread_address = kThreadAddress;
  info.thread_stride = kThreadStride;
  info.tcs_offset = kTcsOffset;
  info.ssa_offset = kSsaOffset;
  info.ssa_frame_size = kSsaFramePages * kPageSize;
  info.block_offset = kBlockOffset;
  info.stack_offset = kStackOffset;
  info.stack_size = kStackSize;
  info.vector_offset = kVectorOffset;
  info.vector_size = kVectorSize;
  info.heap_begin = kHeapBegin;
  info.heap_end = kHeapEnd;
  info.user_begin = kUserBegin;
  info.user_end = kUserEnd;
  return info;
}

void add_thread(ImagePlan& plan, uint32_t index) {
  const uint64_t base = kThreadAddress + index * kThreadStride;
  Tcs tcs{};
  tcs.ossa = base + kSsaOffset;
  tcs.nssa = kSsaFrames;
  tcs.oentry = plan.entry;
  tcs.ofs_base = base + kBlockOffset;
  tcs.ogs_base = base + kBlockOffset;
  tcs.fs_limit = 0xfff;
  tcs.gs_limit = 0xfff;
  const ByteView bytes = object_bytes(tcs);
  plan.storage.emplace_back(bytes.begin(), bytes.end());
  plan.pages.push_back({base + kTcsOffset, kPageTypeTcs, true, plan.storage.back().data()});
  // SSA and thread block are read before they are written: they must be zero, so they are measured.
  add_zero_pages(plan, base + kSsaOffset, kPageSize * kSsaFrames * kSsaFramePages, true);
  add_zero_pages(plan, base + kBlockOffset, kPageSize, true);
  // Stacks and vector areas are written before they are read.
  add_zero_pages(plan, base + kStackOffset, kStackSize, false);
  add_zero_pages(plan, base + kVectorOffset, kVectorSize, false);
}

Bytes padded(ByteView content) {
  Bytes out(content.begin(), content.end());
  out.resize(page_up(out.size()));
  return out;
}

Result<ImagePlan> plan_kernel(ByteView kernel_elf, std::shared_ptr<const void> owner,
                              const Manifest& manifest) {
  const ElfFile elf = TRY(parse_elf(kernel_elf, "kernel.elf"));
  if (elf.type != ET_DYN || !elf.interpreter.empty() || !elf.needed.empty()) {
    return bad_kernel("not a static position-independent program");
  }
  KernelImage kernel = TRY(map_kernel(elf));
  TRY(relocate(kernel, elf));
  const Bytes manifest_bytes = encode_manifest(manifest);
  if (manifest_bytes.size() > kManifestLimit)
    return Error(Code::InvalidArgument, "the manifest is too large");

  ImagePlan plan;
  plan.storage.reserve(2 + kernel.made.size() + manifest.threads);
  plan.kernel = std::move(owner);
  plan.manifest = manifest;
  plan.entry = kKernelAddress + elf.entry;
  plan.attributes = {kFlagMode64 | (manifest.debug ? kFlagDebug : 0), kXfrmLegacy};
  const BootInfo info = boot_info(manifest, manifest_bytes.size(), kernel.size);
  add_pages(plan, kBootInfoAddress, kPageRead, true, padded(object_bytes(info)));
  add_pages(plan, kManifestAddress, kPageRead, true, padded(manifest_bytes));
  for (const auto& [address, page] : kernel.pages)
    plan.pages.push_back({kKernelAddress + address, page.flags | kPageTypeRegular, true, page.content});
  for (auto& run : kernel.made) plan.storage.push_back(std::move(run.second));
  for (uint32_t i = 0; i < manifest.threads; ++i) add_thread(plan, i);
  std::sort(plan.pages.begin(), plan.pages.end(),
            [](const ImagePage& a, const ImagePage& b) { return a.offset < b.offset; });
  return plan;
}

}  // namespace

Result<ImagePlan> plan_image(Bytes kernel_elf, const Manifest& manifest) {
  const auto owner = std::make_shared<const Bytes>(std::move(kernel_elf));
  ImagePlan plan = TRY(plan_kernel(*owner, owner, manifest));
  plan.mrenclave = measure(plan);
  return plan;
}

Measurement measure(const ImagePlan& plan, const Measurer::Sink& sink) {
  static const uint8_t kZeros[kPageSize] = {};
  Measurer measurer(sink);
  measurer.ecreate(kSsaFramePages, kElrangeSize);
  for (const ImagePage& page : plan.pages) {
    if (page.measured) {
      measurer.add_measured_page(page.offset, page.secinfo_flags,
                                 ByteView(page.content != nullptr ? page.content : kZeros, kPageSize));
    } else {
      measurer.eadd(page.offset, page.secinfo_flags);
    }
  }
  return measurer.finish();
}

namespace {

Result<ImagePlan> plan_folder(const ImageFiles& files) {
  std::error_code error;
  if (!std::filesystem::is_directory(files.folder, error)) {
    return Error(Code::NotFound, "no enclave image at " + files.folder.string(),
                 "make one with: cloister build");
  }
  const auto kernel =
      std::make_shared<const FileMemory>(TRY(FileMemory::read(files.kernel(), kKernelFileLimit)));
  const Bytes manifest_bytes = TRY(read_file(files.manifest(), kManifestLimit));
  const Manifest manifest = TRY(decode_manifest(manifest_bytes));
  return plan_kernel(kernel->bytes(), kernel, manifest);
}

}  // namespace

Result<LoadedImage> open_image(const std::filesystem::path& folder) {
  const ImageFiles files{folder};
  LoadedImage image;
  image.plan = TRY(plan_folder(files));
  const Bytes bytes = TRY(read_file(files.sigstruct(), sizeof(SigStruct)));
  image.sigstruct = TRY(parse_sigstruct(bytes));
  TRY(verify_sigstruct(image.sigstruct));
  return image;
}

Result<void> accept_measurement(LoadedImage& image, const Measurement& measured) {
  if (std::memcmp(image.sigstruct.enclave_hash, measured.data(), measured.size()) != 0) {
    return Error(Code::Integrity,
                 "the image was changed after it was signed: MRENCLAVE is " + to_hex(measured) +
                     ", SIGSTRUCT names " + to_hex(image.sigstruct.enclave_hash),
                 "build it again with cloister build, or get the original");
  }
  image.plan.mrenclave = measured;
  return {};
}

Result<LoadedImage> load_image(const std::filesystem::path& folder) {
  LoadedImage image = TRY(open_image(folder));
  TRY(accept_measurement(image, measure(image.plan)));
  return image;
}

Result<Measurement> measure_folder(const std::filesystem::path& folder) {
  return measure(TRY(plan_folder(ImageFiles{folder})));
}

Result<Measurement> export_sgxs(const std::filesystem::path& folder, const std::filesystem::path& out) {
  const ImagePlan plan = TRY(plan_folder(ImageFiles{folder}));
  std::ofstream stream(out, std::ios::binary | std::ios::trunc);
  const Measurement value = measure(plan, [&stream](ByteView bytes) {
    stream.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  });
  stream.close();
  if (!stream) return Error(Code::Unavailable, "cannot write " + out.string());
  return value;
}

}  // namespace cloister::sgx
