// libcurl, loaded when the first request is made. It brings some thirty libraries along, and most commands,
// `run` above all, make no request: to link it would cost each of them several milliseconds. Only client.cpp
// uses it.
#pragma once

#include <curl/curl.h>

namespace cloister::http {

struct CurlLibrary {
  decltype(&::curl_global_init) global_init;
  decltype(&::curl_easy_init) easy_init;
  decltype(&::curl_easy_cleanup) easy_cleanup;
  decltype(&::curl_easy_setopt) easy_setopt;
  decltype(&::curl_easy_getinfo) easy_getinfo;
  decltype(&::curl_easy_perform) easy_perform;
  decltype(&::curl_easy_strerror) easy_strerror;
  decltype(&::curl_slist_append) slist_append;
  decltype(&::curl_slist_free_all) slist_free_all;
  decltype(&::curl_url) url;
  decltype(&::curl_url_cleanup) url_cleanup;
  decltype(&::curl_url_set) url_set;
  decltype(&::curl_url_get) url_get;
  decltype(&::curl_free) free;
};

// nullptr: it is not installed. Thread-safe.
const CurlLibrary* find_curl();
// For whoever has seen that it is there.
inline const CurlLibrary& curl() { return *find_curl(); }

}  // namespace cloister::http
