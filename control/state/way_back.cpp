#include "control/state/way_back.h"

#include <set>
#include <string>
#include <tuple>
#include <utility>

namespace turnpike::state {
namespace {

bool is_as_left(const Peer& peer, const PeerPatch& known) {
  const auto same = [](const auto& wanted, const auto& present) {
    return !wanted || *wanted == present;
  };
  return same(known.name, peer.name.view()) && same(known.description, peer.description.view()) &&
         same(known.preshared_key, peer.preshared_key) && same(known.endpoint, peer.endpoint) &&
         same(known.persistent_keepalive, peer.persistent_keepalive) &&
         same(known.enabled, peer.enabled);
}

bool is_as_left(const Tunnel& tunnel, const Tunnel& known, const Tunnel& wanted) {
  const auto same = [&](const auto& field) {
    return wanted.*field == known.*field || tunnel.*field == known.*field;
  };
  return same(&Tunnel::conflicts) && same(&Tunnel::listen_port) && same(&Tunnel::fwmark) &&
         same(&Tunnel::private_key) && same(&Tunnel::public_key);
}

// What a way back names, in words that can be compared.
class Touched {
 public:
  explicit Touched(const Transaction& way_back) {
    for (const Edit& edit : way_back.edits) add(edit);
  }

  [[nodiscard]] bool meets(const Touched& other) const {
    return meet(prefixes_, other.prefixes_) || meet(attributes_, other.attributes_) ||
           meet(made_, other.named_) || meet(named_, other.made_);
  }

 private:
  using KeyBytes = std::array<uint8_t, kKeyBytes>;
  using Name = std::pair<std::string, KeyBytes>;  // of a peer; of a tunnel, with zeros

  template <typename Item>
  static bool meet(const std::set<Item>& a, const std::set<Item>& b) {
    const bool a_is_smaller = a.size() < b.size();
    const auto& few = a_is_smaller ? a : b;
    const auto& many = a_is_smaller ? b : a;
    for (const Item& item : few) {
      if (many.contains(item)) return true;
    }
    return false;
  }

  void add(const Edit& edit) {
    const bool makes = edit.op == Op::PeerAdd || edit.op == Op::PeerRemove ||
                       edit.op == Op::TunnelAdd || edit.op == Op::TunnelRemove;
    const auto* peer = std::get_if<PublicKey>(&edit.peer);
    const Name name{edit.tunnel, edit.op == Op::PeerAdd ? edit.public_key.bytes
                                 : peer != nullptr      ? peer->bytes
                                                        : KeyBytes{}};
    (makes ? made_ : named_).insert(name);
    if (makes) named_.insert(name);
    named_.insert({edit.tunnel, {}});
    if (edit.op == Op::Move) {
      if (const auto* to = std::get_if<PublicKey>(&edit.to))
        named_.insert({edit.tunnel, to->bytes});
    }
    for (const Prefix& prefix : edit.prefixes) prefixes_.insert({edit.tunnel, prefix});
    if (edit.op == Op::PeerSet && edit.patch) add(name, *edit.patch);
    if (edit.op == Op::TunnelSet) add(name, edit.new_tunnel.get(), edit.known_tunnel.get());
  }

  void add(const Name& name, const PeerPatch& patch) {
    const std::array<bool, 6> set{patch.name.has_value(),
                                  patch.description.has_value(),
                                  patch.preshared_key.has_value(),
                                  patch.endpoint.has_value(),
                                  patch.persistent_keepalive.has_value(),
                                  patch.enabled.has_value()};
    for (size_t i = 0; i < set.size(); ++i) {
      if (set[i]) attributes_.insert({name.first, name.second, i});
    }
  }

  void add(const Name& name, const Tunnel* wanted, const Tunnel* known) {
    const bool all = wanted == nullptr || known == nullptr;
    const std::array<bool, 4> set{all || wanted->conflicts != known->conflicts,
                                  all || wanted->listen_port != known->listen_port,
                                  all || wanted->fwmark != known->fwmark,
                                  all || wanted->public_key != known->public_key};
    for (size_t i = 0; i < set.size(); ++i) {
      if (set[i]) attributes_.insert({name.first, name.second, i});
    }
  }

  std::set<std::pair<std::string, Prefix>> prefixes_;
  std::set<std::tuple<std::string, KeyBytes, size_t>> attributes_;
  std::set<Name> made_;  // or removed
  std::set<Name> named_;
};

}  // namespace

bool is_as_left(const State& state, const Transaction& way_back) {
  for (const Edit& edit : way_back.edits) {
    const Tunnel* tunnel = state.find_tunnel(edit.tunnel);
    if (tunnel == nullptr) continue;
    if (edit.known_tunnel != nullptr && edit.new_tunnel != nullptr &&
        !is_as_left(*tunnel, *edit.known_tunnel, *edit.new_tunnel)) {
      return false;
    }
    if (!edit.known_patch) continue;
    const uint32_t slot = state.select_peer(tunnel->index, edit.peer);
    if (slot != kNoSlot && !is_as_left(state.peer(slot), *edit.known_patch)) return false;
  }
  return true;
}

bool touch_the_same(const Transaction& a, const Transaction& b) {
  return Touched(a).meets(Touched(b));
}

}  // namespace turnpike::state
