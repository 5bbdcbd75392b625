#include "transfer/pages.h"

#include <cstdio>
#include <ctime>

#include "transfer/names.h"

namespace cloister::transfer {
namespace {

constexpr std::string_view kStyle =
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "h1{font-size:1.4rem;overflow-wrap:anywhere}table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #ddd;vertical-align:top}"
    "td.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}td.t{white-space:nowrap}"
    "th.n{text-align:right}td.f,code{overflow-wrap:anywhere;font-family:ui-monospace,monospace;font-size:."
    "9em}"
    "@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}a{color:#8bf}th,td{border-color:#"
    "444}}";

std::string page(std::string_view title, const std::string& body) {
  std::string out = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">";
  out.append("<meta name=\"viewport\" content=\"width=device-width\"><title>").append(html_escape(title));
  out.append("</title><style>").append(kStyle).append("</style></head><body>\n").append(body);
  return out.append("</body></html>\n");
}

std::string fact(std::string_view name, const std::string& html) {
  return std::string("<tr><th scope=\"row\">")
      .append(name)
      .append("</th><td>")
      .append(html)
      .append("</td></tr>\n");
}

std::string row(const std::string& name, uint64_t size, int64_t time) {
  std::string out = "<tr><td class=\"f\">" + html_escape(name) + "</td><td class=\"n\" title=\"";
  out.append(std::to_string(size)).append(" bytes\">").append(format_size(size));
  return out.append("</td><td class=\"t\">").append(format_time(time)).append("</td></tr>\n");
}

std::string age_text(int64_t seconds) {
  if (seconds == 0) return "for ever";
  if (seconds % 86400 == 0) return std::to_string(seconds / 86400) + " days";
  return std::to_string(seconds) + " seconds";
}

std::string number_field(std::string_view name, uint64_t value) {
  return std::string(",\"").append(name).append("\":").append(std::to_string(value));
}
std::string text_field(std::string_view name, std::string_view value) {
  return std::string(",\"").append(name).append("\":").append(json_string(value));
}

}  // namespace

std::string format_time(int64_t seconds) {
  std::tm parts = {};
  const std::time_t time = static_cast<std::time_t>(seconds);
  if (::gmtime_r(&time, &parts) == nullptr || parts.tm_year < -1900 || parts.tm_year > 8099) return "unknown";
  char text[96];
  std::snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02dZ", parts.tm_year + 1900, parts.tm_mon + 1,
                parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
  return text;
}

std::string home_html(const StoreOptions& options, const std::string& base_url) {
  const std::string url = html_escape(base_url);
  std::string body =
      "<h1>Cloister transfer service</h1>\n<p>It keeps encrypted volumes for whoever knows their URL. ";
  body += "Send a file and get its URL:</p>\n<p><code>curl -T FILE " + url + "/</code></p>\n";
  body += "<p><code>cloister transfer push " + url + " FOLDER</code></p>\n<table>\n";
  body += fact("Largest file", format_size(options.max_file_size));
  body += fact("Kept", age_text(options.max_age));
  return page("Cloister transfer service", body + "</table>\n");
}

std::string home_json(const StoreOptions& options) {
  std::string out = "{\"service\":\"cloister transfer\"";
  out += number_field("max_file_size", options.max_file_size);
  return out + number_field("max_age_seconds", static_cast<uint64_t>(options.max_age)) + "}\n";
}

std::string upload_html(const UploadView& view) {
  const Upload& upload = view.upload;
  std::string body = "<h1>" + html_escape(upload.name) + "</h1>\n<table>\n";
  body += fact("Size", format_size(upload.size) + " (" + std::to_string(upload.size) + " bytes)");
  body += fact("Uploaded", format_time(upload.created));
  body += fact("Kept until", view.expires == 0 ? "for ever" : format_time(view.expires));
  body += fact("SHA-256", "<code>" + to_hex(upload.sha256) + "</code>");
  body += fact("Download",
               "<a href=\"" + html_escape(view.url) + "?download=1\">" + html_escape(upload.name) + "</a>");
  body += "</table>\n";
  if (!view.listing) return page(upload.name, body);
  const ZipListing& listing = *view.listing;
  body += "<h2>" + std::to_string(listing.count) + (listing.count == 1 ? " entry" : " entries") + "</h2>\n";
  body += "<p>Names, sizes and times as stored; the content of a volume is encrypted.</p>\n";
  body += "<table>\n<tr><th>Name</th><th class=\"n\">Size</th><th>Time</th></tr>\n";
  for (const ZipEntry& entry : listing.entries) body += row(entry.name, entry.size, entry.modified);
  body += "</table>\n";
  if (listing.count > listing.entries.size()) {
    body += "<p>… and " + std::to_string(listing.count - listing.entries.size()) + " more.</p>\n";
  }
  return page(upload.name, body);
}

std::string upload_json(const UploadView& view) {
  const Upload& upload = view.upload;
  std::string out = "{\"name\":" + json_string(upload.name) + number_field("size", upload.size);
  out += text_field("sha256", to_hex(upload.sha256)) + text_field("uploaded", format_time(upload.created));
  if (view.expires != 0) out += text_field("expires", format_time(view.expires));
  out += text_field("url", view.url);
  if (view.listing) {
    out += number_field("entry_count", view.listing->count) + ",\"entries\":[";
    bool first = true;
    for (const ZipEntry& entry : view.listing->entries) {
      if (!std::exchange(first, false)) out += ',';
      out += "{\"name\":" + json_string(entry.name) + number_field("size", entry.size);
      out += text_field("modified", format_time(entry.modified)) + "}";
    }
    out += "]";
  }
  return out + "}\n";
}

}  // namespace cloister::transfer
