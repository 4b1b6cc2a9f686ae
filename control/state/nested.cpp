#include "control/state/nested.h"

#include <bitset>
#include <unordered_map>

namespace turnpike::state {
namespace {

class Finder {
 public:
  Finder(const State& before, const Change& change, size_t limit)
      : before_(before), change_(change), limit_(limit) {}

  std::vector<Nested> run() {
    for (const PeerAdded& added : change_.peers_added) {
      labels_[static_cast<uint64_t>(added.id)] = label(added.attributes);
    }
    const auto& prefixes = change_.prefixes;
    for (uint32_t i = 0; i < prefixes.size(); ++i) {
      changed_.insert(hash_of(uint32_t{prefixes[i].tunnel}, prefixes[i].prefix), i);
      if (prefixes[i].new_owner != kNoPeerId) lengths(prefixes[i]).set(prefixes[i].prefix.length);
    }
    for (const PrefixChange& p : prefixes) {
      if (p.new_owner != kNoPeerId) find_outer(p.tunnel, p.prefix, p.new_owner, false);
    }
    for (uint32_t c = 0; c < before_.claim_slots_end() && found_.size() < limit_; ++c) {
      const Claim* claim = before_.claim_at(c);
      if (claim == nullptr) continue;
      const Peer& owner = before_.peer(claim->peer);
      if (!new_lengths_.contains(owner.tunnel)) continue;
      // Prefixes of the change itself had their turn above.
      if (find_changed(owner.tunnel, claim->prefix) != nullptr) continue;
      find_outer(owner.tunnel, claim->prefix, owner.id, true);
    }
    return std::move(found_);
  }

 private:
  using LengthSet = std::bitset<129>;
  struct Lengths {
    LengthSet v4, v6;
  };
  LengthSet& lengths(const PrefixChange& p) {
    Lengths& of = new_lengths_[p.tunnel];
    return p.prefix.address.is_v4() ? of.v4 : of.v6;
  }

  const PrefixChange* find_changed(TunnelIndex tunnel, const Prefix& prefix) const {
    const uint32_t at = changed_.find(hash_of(uint32_t{tunnel}, prefix), [&](uint32_t i) {
      return change_.prefixes[i].tunnel == tunnel && change_.prefixes[i].prefix == prefix;
    });
    return at == kNoSlot ? nullptr : &change_.prefixes[at];
  }

  PeerId owner_after(TunnelIndex tunnel, const Prefix& prefix) const {
    if (const PrefixChange* changed = find_changed(tunnel, prefix)) return changed->new_owner;
    const Claim* claim = before_.owner(tunnel, prefix);
    return claim == nullptr ? kNoPeerId : before_.peer(claim->peer).id;
  }

  // The nearest prefix around `inner`; with `new_only`, only if the change brings it.
  void find_outer(TunnelIndex tunnel, const Prefix& inner, PeerId owner, bool new_only) {
    if (found_.size() >= limit_) return;
    const Lengths& fresh = new_lengths_[tunnel];
    const LengthSet& fresh_lengths = inner.address.is_v4() ? fresh.v4 : fresh.v6;
    for (unsigned length = inner.length; length-- > 0;) {
      const bool is_new = fresh_lengths.test(length);
      if (!is_new && !before_.has_length(tunnel, inner.address.family, length)) continue;
      const Prefix outer = Prefix::masked(inner.address, length);
      const PeerId around = owner_after(tunnel, outer);
      if (around == kNoPeerId) continue;
      const PrefixChange* changed = find_changed(tunnel, outer);
      if (around != owner && (!new_only || changed != nullptr)) {
        found_.push_back({.tunnel = tunnel,
                          .inner = inner,
                          .inner_owner = name(owner),
                          .outer = outer,
                          .outer_owner = name(around)});
      }
      return;
    }
  }

  std::string name(PeerId id) const {
    if (const auto found = labels_.find(static_cast<uint64_t>(id)); found != labels_.end()) {
      return found->second;
    }
    return label(before_.peer(before_.find_peer(id)));
  }

  const State& before_;
  const Change& change_;
  size_t limit_;
  std::vector<Nested> found_;
  HashIndex changed_{0};
  std::unordered_map<TunnelIndex, Lengths> new_lengths_;
  std::unordered_map<uint64_t, std::string> labels_;
};

}  // namespace

std::vector<Nested> nested_prefixes(const State& before, const Change& change, size_t limit) {
  return Finder(before, change, limit).run();
}

std::string describe(const Nested& nested) {
  return to_string(nested.inner) + " of " + nested.inner_owner + " lies inside " +
         to_string(nested.outer) + " of " + nested.outer_owner;
}

}  // namespace turnpike::state
