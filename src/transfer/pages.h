// What the service shows to people and programs, as pure functions: HTML without scripts, and JSON.
#pragma once

#include <optional>

#include "transfer/store.h"
#include "transfer/zip.h"

namespace cloister::transfer {

struct UploadView {
  Upload upload;
  std::string url;                    // of the file itself
  int64_t expires = 0;                // 0: never
  std::optional<ZipListing> listing;  // of an archive
};

std::string home_html(const StoreOptions& options, const std::string& base_url);
std::string home_json(const StoreOptions& options);
std::string upload_html(const UploadView& view);
std::string upload_json(const UploadView& view);

std::string format_time(int64_t seconds);  // "2025-07-04T10:28:44Z"; what no calendar holds: "unknown"

}  // namespace cloister::transfer
