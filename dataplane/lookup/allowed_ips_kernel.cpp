#include "dataplane/lookup/allowed_ips_kernel.h"

#include "dataplane/lookup/allowed_ips_node.h"

namespace turnpike::lookup {
namespace {

template <typename L>
Slot match(const L& leaf, uint64_t key) noexcept {
  const auto a = static_cast<std::remove_cvref_t<decltype(leaf.keys[0])>>(key >> (64 - leaf.kKeyBits));
  Slot slot;
  for (size_t i = 0; i < leaf.kCapacity; ++i) {
    const auto k = leaf.keys[i];
    const auto differs = static_cast<decltype(k)>(a ^ k);
    const auto low = static_cast<decltype(k)>(k ^ (k - 1));
    if (differs > low) continue;
    if (leaf.links >> i & 1) {
      slot.child = leaf.values[i];
      continue;
    }
    slot.peer = leaf.values[i];
    return slot;
  }
  return slot;
}

PeerIndex walk(const RootLine& root, uint64_t key, uint64_t low) noexcept {
  PeerIndex best = root.top.peer;
  Ref ref = root.top.child;
  for (;;) {
    Slot slot;
    switch (kind_of(ref)) {
      case Kind::None: return best;
      case Kind::Node: {
        const unsigned stride = stride_of(ref);
        slot = at<Slot>(root.chunks, line_of(ref))[take(key, stride)];
        key <<= stride;
        break;
      }
      case Kind::Peers:
        slot.peer = at<PeerIndex>(root.chunks, line_of(ref))[take(key, stride_of(ref))];
        break;
      case Kind::Skip: {
        const Skip& s = *at<Skip>(root.chunks, line_of(ref));
        if (s.crosses) key = low;
        if (high_bits(key ^ s.bits, s.length) != 0) return best;
        slot = s.slot;
        key = rest(key, s.length);
        break;
      }
      case Kind::Leaf16: slot = match(*at<Leaf16>(root.chunks, line_of(ref)), key); break;
      case Kind::Leaf32: slot = match(*at<Leaf32>(root.chunks, line_of(ref)), key); break;
      case Kind::Leaf64: slot = match(*at<Leaf64>(root.chunks, line_of(ref)), key); break;
    }
    if (slot.peer != kNoPeer) best = slot.peer;
    ref = slot.child;
  }
}

void walk_v4(RootV4 root, std::span<const uint32_t> addresses, PeerIndex* peers) noexcept {
  for (size_t i = 0; i < addresses.size(); ++i) {
    peers[i] = root.node == nullptr ? kNoPeer
                                    : walk(*static_cast<const RootLine*>(root.node),
                                           uint64_t{addresses[i]} << 32, 0);
  }
}
void walk_v6(RootV6 root, std::span<const Ipv6Key> addresses, PeerIndex* peers) noexcept {
  for (size_t i = 0; i < addresses.size(); ++i) {
    peers[i] = root.node == nullptr ? kNoPeer
                                    : walk(*static_cast<const RootLine*>(root.node),
                                           addresses[i].high, addresses[i].low);
  }
}

constexpr Kernel kPortable{"portable", walk_v4, walk_v6};
constexpr const Kernel* kAll[] = {&kPortable};

}  // namespace

std::span<const Kernel* const> kernels() noexcept { return kAll; }
const Kernel& best_kernel() noexcept { return kPortable; }

}  // namespace turnpike::lookup
