#include "control/api/document_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <sstream>

namespace turnpike::api {
namespace {

using nlohmann::json;

constexpr size_t kMaxDepth = 16;

std::string line_and_column(size_t line, size_t column) {
  return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

// Counted from 1; `offset` bytes have been read.
std::string place_of(std::string_view text, size_t offset) {
  offset = std::min(offset, text.size());
  const std::string_view before = text.substr(0, offset == 0 ? 0 : offset - 1);
  const size_t line = 1 + static_cast<size_t>(std::ranges::count(before, '\n'));
  const size_t newline = before.rfind('\n');
  const size_t column = before.size() - (newline == before.npos ? 0 : newline + 1) + 1;
  return line_and_column(line, column);
}

// Builds the tree and refuses what nlohmann's own builder lets pass.
class JsonBuilder {
 public:
  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(json::number_integer_t value) { return add(value); }
  bool number_unsigned(json::number_unsigned_t value) { return add(value); }
  bool number_float(json::number_float_t value, const std::string&) { return add(value); }
  bool string(std::string& value) { return add(std::move(value)); }
  bool binary(json::binary_t&) { return false; }
  bool start_object(size_t) { return open(json::object()); }
  bool start_array(size_t) { return open(json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    if (stack_.back()->contains(name)) {
      return refuse("the key \"" + name + "\" stands here twice", "/" + name);
    }
    key_ = std::move(name);
    return true;
  }
  bool parse_error(size_t offset, const std::string&, const json::exception&) {
    offset_ = offset;
    error_ = "this is not JSON";
    return false;
  }
  bool refuse(std::string what, const std::string& below = "") {
    error_ = std::move(what);
    pointer_.clear();
    for (const std::string& step : path_) pointer_ += step;
    pointer_ += below;
    return false;
  }

  // Called at each value; also by the YAML reader.
  bool add(json value) {
    if (stack_.empty()) {
      if (has_root_) return refuse("there is more than one document");
      root_ = std::move(value);
      has_root_ = true;
      last_ = &root_;
    } else if (stack_.back()->is_array()) {
      stack_.back()->push_back(std::move(value));
      last_ = &stack_.back()->back();
    } else {
      last_ = &((*stack_.back())[key_] = std::move(value));
    }
    return true;
  }
  bool open(json value) {
    if (stack_.size() >= kMaxDepth) return refuse("this is nested too deeply");
    std::string step;
    if (!stack_.empty()) {
      const json& parent = *stack_.back();
      step = "/" + (parent.is_array() ? std::to_string(parent.size()) : key_);
    }
    if (!add(std::move(value))) return false;
    stack_.push_back(last_);
    path_.push_back(std::move(step));
    return true;
  }
  bool close() {
    stack_.pop_back();
    path_.pop_back();
    return true;
  }
  [[nodiscard]] bool in_object() const { return !stack_.empty() && stack_.back()->is_object(); }

  json root_;
  bool has_root_ = false;
  size_t offset_ = 0;  // where it is no JSON, from 1; else `pointer_` is the place
  std::string pointer_;
  std::string error_;

 private:
  std::vector<json*>
      stack_;  // nlohmann's arrays move their items, but only those that are complete
  std::vector<std::string> path_;  // of each level of the stack, the last step of its JSON pointer
  json* last_ = nullptr;
  std::string key_;
};

class YamlReader final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    check(mark, "", anchor);
    value(mark, nullptr);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    refuse(mark, "aliases are not taken here");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    check(mark, tag, anchor);
    if (expects_key()) {
      std::string name = text;
      require(mark, builder_.key(name));
      key_pending_.back() = false;
      return;
    }
    // yaml-cpp's tag of a quoted scalar is "!", of a plain one "?".
    value(mark, tag == "!" ? json(text) : plain(text));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    start(mark, tag, anchor, json::array());
    key_pending_.push_back(false);
  }
  void OnSequenceEnd() override { end(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    start(mark, tag, anchor, json::object());
    key_pending_.push_back(true);
  }
  void OnMapEnd() override { end(); }

  JsonBuilder builder_;

 private:
  static json plain(const std::string& text) {
    if (text == "null" || text == "~") return nullptr;
    if (text == "true") return true;
    if (text == "false") return false;
    uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool leading_zero = text.size() > 1 && text[0] == '0';
    if (error == std::errc{} && end == text.data() + text.size() && !leading_zero) return number;
    return text;
  }
  [[noreturn]] void refuse(const YAML::Mark& mark, std::string what) {
    throw YAML::ParserException(mark, what);
  }
  void require(const YAML::Mark& mark, bool good) {
    if (!good) refuse(mark, builder_.error_);
  }
  void check(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (anchor != 0) refuse(mark, "anchors are not taken here");
    if (!tag.empty() && tag != "?" && tag != "!") refuse(mark, "tags are not taken here");
  }
  [[nodiscard]] bool expects_key() const { return !key_pending_.empty() && key_pending_.back(); }
  void value(const YAML::Mark& mark, json of) {
    if (expects_key()) refuse(mark, "a key must be text");
    require(mark, builder_.add(std::move(of)));
    if (builder_.in_object()) key_pending_.back() = true;
  }
  void start(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, json of) {
    check(mark, tag, anchor);
    if (expects_key()) refuse(mark, "a key must be text");
    require(mark, builder_.open(std::move(of)));
  }
  void end() {
    key_pending_.pop_back();
    builder_.close();
    if (builder_.in_object()) key_pending_.back() = true;
  }

  std::vector<bool> key_pending_;  // for each open level: an object that waits for a key
};

}  // namespace

Result<json, Mistake> parse_json_tree(std::string_view text) {
  JsonBuilder builder;
  if (json::sax_parse(text, &builder)) return std::move(builder.root_);
  return fail(
      Mistake{.place = builder.offset_ == 0 ? builder.pointer_ : place_of(text, builder.offset_),
              .what = builder.error_});
}

Result<json, Mistake> parse_yaml_tree(std::string_view text) {
  YamlReader reader;
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(reader)) {
    }
    if (!reader.builder_.has_root_) {
      return fail(Mistake{.place = "document", .what = "the document is empty"});
    }
    return std::move(reader.builder_.root_);
  } catch (const YAML::ParserException& e) {
    return fail(Mistake{.place = line_and_column(static_cast<size_t>(e.mark.line) + 1,
                                                 static_cast<size_t>(e.mark.column) + 1),
                        .what = e.msg});
  } catch (const YAML::Exception& e) {
    return fail(Mistake{.place = "document", .what = e.what()});
  }
}

}  // namespace turnpike::api
