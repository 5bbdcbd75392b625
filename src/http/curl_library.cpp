#include "http/curl_library.h"

#include <dlfcn.h>

namespace cloister::http {
namespace {

template <class Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

const CurlLibrary* load() {
  static CurlLibrary all;
  void* library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);  // stays until the process ends
  if (library == nullptr) return nullptr;
  const bool complete =
      find(library, "curl_global_init", all.global_init) && find(library, "curl_easy_init", all.easy_init) &&
      find(library, "curl_easy_cleanup", all.easy_cleanup) &&
      find(library, "curl_easy_setopt", all.easy_setopt) &&
      find(library, "curl_easy_getinfo", all.easy_getinfo) &&
      find(library, "curl_easy_perform", all.easy_perform) &&
      find(library, "curl_easy_strerror", all.easy_strerror) &&
      find(library, "curl_slist_append", all.slist_append) &&
      find(library, "curl_slist_free_all", all.slist_free_all) && find(library, "curl_url", all.url) &&
      find(library, "curl_url_cleanup", all.url_cleanup) && find(library, "curl_url_set", all.url_set) &&
      find(library, "curl_url_get", all.url_get) && find(library, "curl_free", all.free);
  return complete ? &all : nullptr;
}

}  // namespace

const CurlLibrary* find_curl() {
  static const CurlLibrary* const library = load();
  return library;
}

}  // namespace cloister::http
