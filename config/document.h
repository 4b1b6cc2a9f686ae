// YAML text into nodes, by the events of the YAML library. The only file that includes it is
// document.cpp.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "config/node.h"
#include "config/report.h"

namespace turnpike::config {

// Takes each tunnels[i].peers[j] when its text ends, so that no more than one is held as nodes.
class PeerSink {
 public:
  virtual ~PeerSink() = default;
  virtual void take_peer(size_t tunnel, size_t index, Node&& peer) = 0;
};

// The document without its peers (their sequences are empty). Nothing after a mistake of syntax.
// Anchors, aliases, tags and repeated keys are reported here; what they touch is Broken.
[[nodiscard]] std::optional<Node> read_document(std::string_view text, Report& report,
                                                PeerSink& sink);

}  // namespace turnpike::config
