// A small piece of a YAML document with the place of everything in it. Only pieces exist: a peer is
// turned into its value as soon as its mapping closes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/error.h"

namespace turnpike::config {

enum class NodeKind : uint8_t {
  Null,
  Scalar,
  Sequence,
  Mapping,
  Broken,  // a mistake in it is reported already; readers pass over it in silence
};

struct NodeKey {
  std::string text;
  Location at;
  bool repeated = false;  // reported already
};

struct Node {
  NodeKind kind = NodeKind::Null;
  bool plain = false;  // a scalar without quotes
  Location at;
  std::string text;
  std::vector<Node> items;  // of a sequence, or the values of a mapping
  std::vector<NodeKey> keys;  // of a mapping, beside `items`
};

}  // namespace turnpike::config
