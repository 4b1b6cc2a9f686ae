#include "config/mapping.h"

#include <algorithm>
#include <charconv>

#include "config/plain_text.h"
#include "dataplane/base/check.h"

namespace turnpike::config {
namespace {

std::string_view kind_text(const Node& node) {
  switch (node.kind) {
    case NodeKind::Null:
      return "nothing";
    case NodeKind::Scalar:
      return "a single value";
    case NodeKind::Sequence:
      return "a list";
    case NodeKind::Mapping:
      return "a mapping";
    case NodeKind::Broken:
      return "something broken";
  }
  CHECK(false);
}

bool all_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// A scalar, or a report of what else stands there.
bool is_scalar(const Node& node, std::string_view wanted, const Path& path, Report& report) {
  if (node.kind == NodeKind::Scalar) return true;
  if (node.kind == NodeKind::Null) {
    report.mistake(node.at, path, cat({"has no value; ", wanted, " is expected"}));
  } else if (node.kind != NodeKind::Broken) {
    report.mistake(node.at, path, cat({"is ", kind_text(node), "; ", wanted, " is expected"}));
  }
  return false;
}

std::optional<uint64_t> parse_integer(const Node& node, const Key& key, const Path& path,
                                      Report& report) {
  const std::string range =
      cat({"a number from ", std::to_string(key.minimum), " to ", std::to_string(key.maximum)});
  if (!is_scalar(node, range, path, report)) return std::nullopt;
  const std::string_view text = node.text;
  if (!node.plain) {
    report.mistake(node.at, path,
                   cat({quote(text), " is text; ", range, " without quotes is expected"}));
    return std::nullopt;
  }
  if (text.size() > 1 && text[0] == '0' &&
      (all_digits(text) || (text[1] == 'o' && all_digits(text.substr(2))))) {
    report.mistake(node.at, path,
                   cat({quote(text), " could be read as octal; write the number in decimal, ",
                        "without a leading zero"}));
    return std::nullopt;
  }
  if (!all_digits(text)) {
    report.mistake(node.at, path,
                   cat({quote(text), " is no decimal number; ", range, " is expected"}));
    return std::nullopt;
  }
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value < key.minimum || value > key.maximum) {
    report.mistake(node.at, path, cat({quote(text), " is out of range; ", range, " is right"}));
    return std::nullopt;
  }
  return value;
}

std::string choices_text(const Key& key) {
  std::string text;
  for (size_t i = 0; i < key.choices.size(); ++i) {
    if (i > 0) text += i + 1 == key.choices.size() ? " or " : ", ";
    text += key.choices[i];
  }
  return text;
}

std::string known_keys(Section section) {
  std::string text;
  for (const Key& key : keys_of(section)) {
    if (!text.empty()) text += ", ";
    text += key.name;
  }
  return text;
}

bool is_text(const Node& node, const Key& key, const Path& path, Report& report) {
  if (!is_scalar(node, "a text", path, report)) return false;
  std::string fault =
      key.fault != nullptr ? key.fault(node.text) : text_fault(node.text, key.maximum, false);
  if (fault.empty()) return true;
  report.mistake(node.at, path, std::move(fault));
  return false;
}

}  // namespace

MappingReader::MappingReader(Node& node, Section section, const Path& path, Report& report)
    : node_(node), section_(section), path_(path), report_(report) {
  if (node.kind != NodeKind::Mapping) {
    if (node.kind != NodeKind::Broken) {
      report.mistake(node.at, path,
                     cat({"is ", kind_text(node), "; a mapping of keys and values is expected"}));
    }
    return;
  }
  usable_ = true;
  std::vector<std::string_view> misspelt;
  for (const NodeKey& key : node.keys) {
    if (key.repeated || find_key(section, key.text) != nullptr) continue;
    const std::string_view near = nearest_key(section, key.text);
    misspelt.push_back(near);
    report.mistake(key.at, path,
                   cat({"unknown key ", quote(key.text),
                        near.empty() ? cat({"; known are ", known_keys(section)})
                                     : cat({"; did you mean ", quote(near), "?"})}));
  }
  for (const Key& key : keys_of(section)) {
    if (!key.required || has(key.name)) continue;
    // One mistake, not two.
    if (std::find(misspelt.begin(), misspelt.end(), key.name) != misspelt.end()) continue;
    report.mistake(node.at, path, cat({"required key ", quote(key.name), " is missing"}));
  }
}

Node* MappingReader::find(std::string_view name) const {
  for (size_t i = 0; i < node_.keys.size(); ++i) {
    if (!node_.keys[i].repeated && node_.keys[i].text == name) return &node_.items[i];
  }
  return nullptr;
}

const Key& MappingReader::key_of(std::string_view name, KeyKind kind) const {
  const Key* key = find_key(section_, name);
  CHECK(key != nullptr && key->kind == kind);
  return *key;
}

Location MappingReader::at(std::string_view name) const {
  const Node* node = find(name);
  return node != nullptr ? node->at : node_.at;
}

Places MappingReader::places() const {
  Places places(node_.at);
  for (const Key& key : keys_of(section_)) {
    if (const Node* node = find(key.name)) places.add(key.name, node->at);
  }
  return places;
}

std::optional<uint64_t> MappingReader::integer_of(std::string_view name) {
  const Key& key = key_of(name, KeyKind::Integer);
  const Node* node = find(name);
  return node == nullptr ? std::nullopt : parse_integer(*node, key, path(name), report_);
}

void MappingReader::boolean(std::string_view name, bool& into) {
  (void)key_of(name, KeyKind::Boolean);
  const Node* node = find(name);
  const Path here = path(name);
  if (node == nullptr || !is_scalar(*node, "true or false", here, report_)) return;
  if (node->plain && (node->text == "true" || node->text == "false")) {
    into = node->text == "true";
  } else {
    report_.mistake(node->at, here,
                    cat({quote(node->text), node->plain ? "" : " in quotes",
                         " is no boolean; true or false is expected"}));
  }
}

std::optional<size_t> MappingReader::choice_of(std::string_view name) {
  const Key& key = key_of(name, KeyKind::Choice);
  const Node* node = find(name);
  const Path here = path(name);
  if (node == nullptr || !is_scalar(*node, choices_text(key), here, report_)) return std::nullopt;
  for (size_t i = 0; i < key.choices.size(); ++i) {
    if (key.choices[i] == node->text) return i;
  }
  report_.mistake(node->at, here,
                  cat({quote(node->text), " is unknown; ", choices_text(key), " is expected"}));
  return std::nullopt;
}

void MappingReader::integers(std::string_view name, std::vector<uint32_t>& into) {
  const Key& key = key_of(name, KeyKind::Integers);
  const Node* list = sequence(name);
  if (list == nullptr) return;
  into.clear();
  const Path here = path(name);
  if (list->items.empty()) report_.mistake(list->at, here, "is empty; at least one is needed");
  for (size_t i = 0; i < list->items.size(); ++i) {
    const Node& item = list->items[i];
    const auto value = parse_integer(item, key, here.item(i), report_);
    if (!value) continue;
    const auto number = static_cast<uint32_t>(*value);
    if (std::find(into.begin(), into.end(), number) != into.end()) {
      report_.mistake(item.at, here.item(i), cat({item.text, " stands twice; once is right"}));
    } else {
      into.push_back(number);
    }
  }
}

void MappingReader::text(std::string_view name, std::string& into) {
  if (const Node* node = text_node(name)) into = node->text;
}

Node* MappingReader::text_node(std::string_view name) {
  const Key& key = key_of(name, KeyKind::Text);
  Node* node = find(name);
  return node != nullptr && is_text(*node, key, path(name), report_) ? node : nullptr;
}

Node* MappingReader::sequence(std::string_view name) {
  CHECK(find_key(section_, name) != nullptr);
  Node* node = find(name);
  if (node == nullptr || node->kind == NodeKind::Broken) return nullptr;
  if (node->kind == NodeKind::Sequence) return node;
  const Path here = path(name);
  report_.mistake(node->at, here,
                  cat({"is ", kind_text(*node), "; a list is expected, [] if it is empty"}));
  return nullptr;
}

Node* MappingReader::mapping(std::string_view name) {
  (void)key_of(name, KeyKind::Mapping);
  return find(name);
}

bool MappingReader::good_item(const Node& item, const Key& key, const Path& path) {
  return is_text(item, key, path, report_);
}

}  // namespace turnpike::config
