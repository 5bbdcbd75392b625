#include "policy/yaml.h"

#include <yaml.h>

#include <algorithm>
#include <map>

namespace cloister::policy {
namespace {

Mark mark_of(const yaml_mark_t& mark) {
  return {static_cast<uint32_t>(mark.line + 1), static_cast<uint32_t>(mark.column + 1)};
}

Error malformed(std::string_view what, const Mark& mark) {
  return {Code::Malformed, std::string(what) + " " + mark.text()};
}

// One event of the library; freed with its scope.
class Event {
 public:
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { clear(); }
  yaml_event_t* fill() {
    clear();
    filled_ = true;
    return &event_;
  }
  const yaml_event_t* operator->() const { return &event_; }

 private:
  void clear() {
    if (filled_) yaml_event_delete(&event_);
    filled_ = false;
  }
  yaml_event_t event_{};
  bool filled_ = false;
};

std::string_view anchor_of(const yaml_event_t& event) {
  const yaml_char_t* anchor = nullptr;
  if (event.type == YAML_SCALAR_EVENT) anchor = event.data.scalar.anchor;
  if (event.type == YAML_SEQUENCE_START_EVENT) anchor = event.data.sequence_start.anchor;
  if (event.type == YAML_MAPPING_START_EVENT) anchor = event.data.mapping_start.anchor;
  return anchor == nullptr ? std::string_view() : std::string_view(reinterpret_cast<const char*>(anchor));
}

bool has_tag(const yaml_event_t& event) {
  if (event.type == YAML_SCALAR_EVENT) return event.data.scalar.tag != nullptr;
  if (event.type == YAML_SEQUENCE_START_EVENT) return event.data.sequence_start.tag != nullptr;
  if (event.type == YAML_MAPPING_START_EVENT) return event.data.mapping_start.tag != nullptr;
  return false;
}

class TreeBuilder {
 public:
  explicit TreeBuilder(std::string_view text) {
    CLOISTER_CHECK(yaml_parser_initialize(&parser_) == 1);
    yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
    const char* input = text.data() == nullptr ? "" : text.data();  // libyaml aborts on a null pointer
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(input), text.size());
  }
  ~TreeBuilder() { yaml_parser_delete(&parser_); }
  TreeBuilder(const TreeBuilder&) = delete;
  TreeBuilder& operator=(const TreeBuilder&) = delete;

  Result<Node> document() {
    Event event;
    TRY(next(event, YAML_STREAM_START_EVENT, "the stream"));
    TRY(next(event));
    if (event->type == YAML_STREAM_END_EVENT)
      return malformed("the text is empty", mark_of(event->start_mark));
    if (event->type != YAML_DOCUMENT_START_EVENT) return malformed("expected a document", Mark());
    TRY(next(event));
    Node root;
    TRY(node(event, 0, root));
    TRY(next(event, YAML_DOCUMENT_END_EVENT, "the end of the document"));
    TRY(next(event, YAML_STREAM_END_EVENT, "one document only"));
    return root;
  }

 private:
  Result<void> next(Event& event) {
    if (yaml_parser_parse(&parser_, event.fill()) == 1) return {};
    const bool no_memory = parser_.error == YAML_MEMORY_ERROR;
    // Errors of the reader (not UTF-8) come before any token and have a byte offset in place of a mark.
    Mark mark = mark_of(parser_.error == YAML_READER_ERROR ? parser_.mark : parser_.problem_mark);
    const char* problem = parser_.problem == nullptr || no_memory ? "cannot be parsed" : parser_.problem;
    return malformed(problem, mark);
  }
  Result<void> next(Event& event, yaml_event_type_t type, std::string_view expected) {
    TRY(next(event));
    if (event->type == type) return {};
    return malformed("expected " + std::string(expected), mark_of(event->start_mark));
  }

  Result<void> spend(size_t nodes, size_t bytes, const Mark& mark) {
    nodes_ += nodes;
    bytes_ += bytes;
    if (nodes_ > kMaxYamlNodes || bytes_ > kMaxYamlBytes) return malformed("too many values", mark);
    return {};
  }

  Result<void> node(const Event& event, size_t depth, Node& out) {
    out.mark = mark_of(event->start_mark);
    if (event->type == YAML_ALIAS_EVENT) return alias(event, out);
    if (has_tag(*event.operator->())) return malformed("tags are not part of the language", out.mark);
    const std::string anchor(anchor_of(*event.operator->()));
    if (event->type == YAML_SCALAR_EVENT) {
      TRY(scalar(event, out));
    } else if (depth >= kMaxYamlDepth) {
      return malformed("nested more than " + std::to_string(kMaxYamlDepth) + " deep", out.mark);
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
      TRY(spend(1, 0, out.mark));
      TRY(sequence(depth, out));
    } else if (event->type == YAML_MAPPING_START_EVENT) {
      TRY(spend(1, 0, out.mark));
      TRY(mapping(depth, out));
    } else {
      return malformed("expected a value", out.mark);
    }
    // An anchor names a finished value, so an alias can never stand inside its own.
    if (!anchor.empty()) {
      TRY(spend(count(out), bytes(out), out.mark));
      anchors_.insert_or_assign(anchor, out);
    }
    return {};
  }

  Result<void> scalar(const Event& event, Node& out) {
    const auto& scalar = event->data.scalar;
    out.kind = Node::Kind::Scalar;
    out.plain = scalar.style == YAML_PLAIN_SCALAR_STYLE;
    out.begin = static_cast<uint32_t>(event->start_mark.index);
    out.end = static_cast<uint32_t>(event->end_mark.index);
    out.text.assign(reinterpret_cast<const char*>(scalar.value), scalar.length);
    if (out.text.find('\0') != std::string::npos) return malformed("a NUL character", out.mark);
    return spend(1, out.text.size(), out.mark);
  }

  Result<void> sequence(size_t depth, Node& out) {
    out.kind = Node::Kind::Sequence;
    Event event;
    for (;;) {
      TRY(next(event));
      if (event->type == YAML_SEQUENCE_END_EVENT) return {};
      TRY(node(event, depth + 1, out.items.emplace_back()));
    }
  }

  Result<void> mapping(size_t depth, Node& out) {
    out.kind = Node::Kind::Mapping;
    Event event;
    for (;;) {
      TRY(next(event));
      if (event->type == YAML_MAPPING_END_EVENT) break;
      TRY(node(event, depth + 1, out.items.emplace_back()));
      if (!out.items.back().is_scalar()) return malformed("a key must be a scalar", out.items.back().mark);
      TRY(next(event));
      TRY(node(event, depth + 1, out.items.emplace_back()));
    }
    return unique_keys(out);
  }

  static Result<void> unique_keys(const Node& mapping) {
    std::vector<const Node*> keys;
    keys.reserve(mapping.items.size() / 2);
    for (size_t i = 0; i < mapping.items.size(); i += 2) keys.push_back(&mapping.items[i]);
    std::stable_sort(keys.begin(), keys.end(),
                     [](const Node* a, const Node* b) { return a->text < b->text; });
    for (size_t i = 1; i < keys.size(); ++i) {
      if (keys[i]->text != keys[i - 1]->text) continue;
      return malformed("duplicate field `" + keys[i]->text.substr(0, 64) + "`", keys[i]->mark);
    }
    return {};
  }

  Result<void> alias(const Event& event, Node& out) {
    const std::string name(reinterpret_cast<const char*>(event->data.alias.anchor));
    const auto found = anchors_.find(name);
    if (found == anchors_.end()) return malformed("unknown alias *" + name.substr(0, 64), out.mark);
    TRY(spend(count(found->second), bytes(found->second), out.mark));
    const Mark here = out.mark;
    out = found->second;
    out.mark = here;
    return {};
  }

  static size_t count(const Node& node) {
    size_t total = 1;
    for (const Node& item : node.items) total += count(item);
    return total;
  }
  static size_t bytes(const Node& node) {
    size_t total = node.text.size();
    for (const Node& item : node.items) total += bytes(item);
    return total;
  }

  yaml_parser_t parser_{};
  std::map<std::string, Node> anchors_;
  size_t nodes_ = 0;
  size_t bytes_ = 0;
};

bool all_of(std::string_view text, bool (*is)(char)) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is);
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_octal(char c) { return c >= '0' && c <= '7'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

bool is_integer(std::string_view text) {
  if (text.starts_with("0x")) return all_of(text.substr(2), is_hex);
  if (text.starts_with("0o")) return all_of(text.substr(2), is_octal);
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  return all_of(text, is_digit);
}

// [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?
bool is_float(std::string_view text) {
  for (const std::string_view word : {".nan", ".NaN", ".NAN"}) {
    if (text == word) return true;
  }
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  for (const std::string_view word : {".inf", ".Inf", ".INF"}) {
    if (text == word) return true;
  }
  const size_t exponent = text.find_first_of("eE");
  if (exponent != std::string_view::npos) {
    std::string_view digits = text.substr(exponent + 1);
    if (digits.starts_with('-') || digits.starts_with('+')) digits.remove_prefix(1);
    if (!all_of(digits, is_digit)) return false;
    text = text.substr(0, exponent);
  }
  const size_t dot = text.find('.');
  if (dot == std::string_view::npos) return all_of(text, is_digit);
  const std::string_view whole = text.substr(0, dot);
  const std::string_view part = text.substr(dot + 1);
  if (whole.empty()) return all_of(part, is_digit);
  return all_of(whole, is_digit) && (part.empty() || all_of(part, is_digit));
}

}  // namespace

std::string Mark::text() const {
  return "at line " + std::to_string(line) + " column " + std::to_string(column);
}

ScalarType Node::scalar_type() const {
  if (!plain) return ScalarType::String;
  for (const std::string_view word : {"", "~", "null", "Null", "NULL"}) {
    if (text == word) return ScalarType::Null;
  }
  for (const std::string_view word : {"true", "True", "TRUE", "false", "False", "FALSE"}) {
    if (text == word) return ScalarType::Boolean;
  }
  if (is_integer(text)) return ScalarType::Integer;
  return is_float(text) ? ScalarType::Float : ScalarType::String;
}

bool Node::mentions(std::string_view word) const {
  if (is_scalar()) return text == word;
  return std::any_of(items.begin(), items.end(), [&](const Node& item) { return item.mentions(word); });
}

Result<Node> parse_yaml(std::string_view text) {
  if (text.size() > kMaxYamlSize) {
    return Error(Code::Malformed, "the text is longer than " + std::to_string(kMaxYamlSize) + " bytes");
  }
  return TreeBuilder(text).document();
}

}  // namespace cloister::policy
