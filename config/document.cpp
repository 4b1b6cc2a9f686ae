#include "config/document.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <exception>
#include <istream>
#include <streambuf>
#include <string>
#include <vector>

#include "config/load.h"
#include "dataplane/base/keys.h"

namespace turnpike::config {
namespace {

// More keys than any mapping of ours has, by far; bounds the search for repeated ones.
constexpr size_t kMaxKeys = 256;

// Ends the parse after a mistake behind which nothing can be understood. Thrown and caught in this
// file.
struct Stop {
  Location at;
  std::string message;
};

class TextBuffer : public std::streambuf {
 public:
  explicit TextBuffer(std::string_view text) {
    char* begin = const_cast<char*>(text.data());  // streambuf's interface; nothing writes
    setg(begin, begin, begin + text.size());
  }
};

class Builder : public YAML::EventHandler {
 public:
  Builder(std::string_view text, Report& report, PeerSink& sink) : report_(report), sink_(sink) {
    last_line_ = 1;
    size_t start = 0;
    for (size_t i = 0; i + 1 < text.size(); ++i) {
      if (text[i] != '\n') continue;
      ++last_line_;
      start = i + 1;
    }
    end_column_ = static_cast<uint32_t>(text.size() - start + 1);
  }

  // The library counts from 0, may point behind the last line, and has a mark for "nowhere".
  [[nodiscard]] Location location(const YAML::Mark& mark) const {
    if (mark.line < 0 || mark.column < 0) return {1, 1};
    const auto line = static_cast<uint32_t>(mark.line) + 1;
    if (line > last_line_) return {last_line_, end_column_};
    return {line, static_cast<uint32_t>(mark.column) + 1};
  }
  [[nodiscard]] Location end() const { return {last_line_, end_column_}; }

  Node root;
  bool started = false;

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (started) {
      throw Stop{location(mark), "a second document starts here; one file holds one document"};
    }
    started = true;
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    refuse_anchor(mark, anchor);
    // The library's mark is that of whatever follows; a missing value is missed at its key.
    const bool after_key = !frames_.empty() && frames_.back().has_key;
    finish({.kind = NodeKind::Null, .at = after_key ? frames_.back().key.at : location(mark)});
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    report_.mistake_at(location(mark), path(), "an alias (*) is not allowed; write the value out");
    finish({.kind = NodeKind::Broken, .at = location(mark)});
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    refuse_anchor(mark, anchor);
    if (refuse_tag(mark, tag)) {
      finish({.kind = NodeKind::Broken, .at = location(mark)});
      return;
    }
    finish({.kind = NodeKind::Scalar, .plain = tag == "?", .at = location(mark), .text = value});
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, NodeKind::Sequence);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, NodeKind::Mapping);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Frame {
    Node node;
    size_t count = 0;      // items seen, also those that went to the sink
    bool has_key = false;  // of a mapping: `key` waits for its value
    NodeKey key;
  };

  void refuse_anchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor == 0) return;
    report_.mistake_at(location(mark), path(),
                       "an anchor (&) is not allowed; write the value out where it is needed");
  }

  // "?" is a plain scalar or a collection without a tag, "!" a quoted scalar.
  bool refuse_tag(const YAML::Mark& mark, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!") return false;
    report_.mistake_at(location(mark), path(),
                       "a tag (!) is not allowed; the key decides the type of its value");
    return true;
  }

  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, NodeKind kind) {
    if (frames_.size() >= kMaxDepth) {
      throw Stop{location(mark), cat({"nested deeper than ", std::to_string(kMaxDepth),
                                      " levels; no key is that deep"})};
    }
    refuse_anchor(mark, anchor);
    refuse_tag(mark, tag);
    frames_.push_back({.node = {.kind = kind, .at = location(mark)}});
  }

  void close() {
    Node done = std::move(frames_.back().node);
    frames_.pop_back();
    finish(std::move(done));
  }

  void finish(Node node) {
    if (frames_.empty()) {
      root = std::move(node);
      return;
    }
    Frame& top = frames_.back();
    if (top.node.kind == NodeKind::Sequence) {
      if (is_peers()) {
        if (!in_repeated_key()) {
          sink_.take_peer(frames_[1].node.items.size(), top.count, std::move(node));
        }
      } else {
        top.node.items.push_back(std::move(node));
      }
      ++top.count;
    } else if (top.has_key) {
      if (top.key.repeated) node = {.kind = NodeKind::Broken, .at = node.at};
      top.node.keys.push_back(std::move(top.key));
      top.node.items.push_back(std::move(node));
      top.has_key = false;
    } else {
      take_key(top, node);
    }
  }

  void take_key(Frame& top, Node& node) {
    if (top.node.keys.size() >= kMaxKeys) {
      throw Stop{node.at, cat({"more than ", std::to_string(kMaxKeys), " keys in one mapping"})};
    }
    NodeKey key{.text = std::move(node.text), .at = node.at};
    if (node.kind != NodeKind::Scalar) {
      report_.mistake_at(node.at, path(), "a key must be a name");
      key = {.text = "", .at = node.at, .repeated = true};
    }
    for (const NodeKey& before : top.node.keys) {
      if (before.text != key.text || before.repeated || key.repeated) continue;
      report_.mistake_at(key.at, path(),
                         cat({"key ", quote(key.text), " stands twice; it stands first at ",
                              place_text(before.at)}));
      key.repeated = true;
    }
    top.key = std::move(key);
    top.has_key = true;
  }

  // Whether the innermost open sequence is tunnels[i].peers.
  [[nodiscard]] bool is_peers() const {
    return frames_.size() == 4 && frames_[0].has_key && frames_[0].key.text == "tunnels" &&
           frames_[1].node.kind == NodeKind::Sequence && frames_[2].has_key &&
           frames_[2].key.text == "peers";
  }

  [[nodiscard]] bool in_repeated_key() const {
    return std::any_of(frames_.begin(), frames_.end(),
                       [](const Frame& frame) { return frame.has_key && frame.key.repeated; });
  }

  [[nodiscard]] std::string path() const {
    std::string text;
    for (const Frame& frame : frames_) {
      if (frame.node.kind == NodeKind::Sequence) {
        text += cat({"[", std::to_string(frame.count), "]"});
      } else if (frame.has_key && !frame.key.text.empty()) {
        if (!text.empty()) text.push_back('.');
        text += frame.key.text;
      }
    }
    return text;
  }

  Report& report_;
  PeerSink& sink_;
  std::vector<Frame> frames_;
  uint32_t last_line_ = 1;
  uint32_t end_column_ = 1;
};

}  // namespace

std::optional<Node> read_document(std::string_view text, Report& report, PeerSink& sink) {
  Builder builder(text, report, sink);
  try {
    TextBuffer buffer(text);
    std::istream stream(&buffer);
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Stop& stop) {
    report.mistake(stop.at, Path(), stop.message);
    return std::nullopt;
  } catch (const YAML::Exception& error) {
    report.mistake(builder.location(error.mark), Path(), cat({"this is not YAML: ", error.msg}));
    return std::nullopt;
  } catch (const std::exception& error) {
    report.mistake(builder.end(), Path(), cat({"cannot be read: ", error.what()}));
    return std::nullopt;
  }
  if (!builder.started || builder.root.kind == NodeKind::Null) {
    report.mistake({1, 1}, Path(), "the file holds no configuration; see the annotated examples");
    return std::nullopt;
  }
  return std::move(builder.root);
}

}  // namespace turnpike::config
