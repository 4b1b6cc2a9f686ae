// A first, simple version of the allowed-IPs table: a one-bit persistent trie with path copying.
#include "dataplane/lookup/allowed_ips.h"

#include <new>
#include <unordered_map>
#include <vector>

#include "dataplane/base/check.h"

namespace turnpike::lookup {
namespace {

struct Node {
  Node* child[2];
  uint64_t stamp;  // the batch that made the node: it alone may change it
  PeerIndex peer;
};

constexpr size_t kSlabBytes = size_t{256} << 10;

unsigned bit_of(const Prefix& p, unsigned depth) noexcept {
  return p.address.bytes[depth / 8] >> (7 - depth % 8) & 1;
}

}  // namespace

void lookup_burst(RootV4 root, std::span<const uint32_t> addresses,
                  std::span<PeerIndex> peers) noexcept {
  for (size_t i = 0; i < addresses.size(); ++i) {
    PeerIndex best = kNoPeer;
    uint32_t key = addresses[i];
    for (auto* n = static_cast<const Node*>(root.node); n != nullptr; key <<= 1) {
      if (n->peer != kNoPeer) best = n->peer;
      n = n->child[key >> 31];
    }
    peers[i] = best;
  }
}

void lookup_burst(RootV6 root, std::span<const Ipv6Key> addresses,
                  std::span<PeerIndex> peers) noexcept {
  for (size_t i = 0; i < addresses.size(); ++i) {
    PeerIndex best = kNoPeer;
    Ipv6Key key = addresses[i];
    for (auto* n = static_cast<const Node*>(root.node); n != nullptr;) {
      if (n->peer != kNoPeer) best = n->peer;
      n = n->child[key.high >> 63];
      key.high = key.high << 1 | key.low >> 63;
      key.low <<= 1;
    }
    peers[i] = best;
  }
}

template <typename Root>
struct Writer<Root>::Impl {
  static constexpr Family kFamily = std::is_same_v<Root, RootV4> ? Family::V4 : Family::V6;

  PageSource& pages;
  Node* head = nullptr;
  Node* next = nullptr;
  bool prepared = false;
  uint64_t stamp = 0;
  uint64_t head_size = 0, next_size = 0;
  uint64_t tickets = 0;
  size_t nodes = 0;
  std::vector<void*> slabs;
  Node* free_nodes = nullptr;
  std::vector<Node*> replaced;
  std::unordered_map<uint64_t, std::vector<Node*>> garbage;

  explicit Impl(PageSource& source) : pages(source) {}
  ~Impl() {
    for (void* slab : slabs) pages.release(slab, kSlabBytes);
  }

  Node* allocate() noexcept {
    if (free_nodes == nullptr) {
      auto* slab = static_cast<Node*>(pages.allocate(kSlabBytes));
      if (slab == nullptr) return nullptr;
      slabs.push_back(slab);
      for (size_t i = 0; i < kSlabBytes / sizeof(Node); ++i) {
        slab[i].child[0] = free_nodes;
        free_nodes = &slab[i];
      }
    }
    Node* n = free_nodes;
    free_nodes = n->child[0];
    ++nodes;
    *n = Node{.child = {nullptr, nullptr}, .stamp = stamp, .peer = kNoPeer};
    return n;
  }
  void free(Node* n) noexcept {
    n->child[0] = free_nodes;
    free_nodes = n;
    --nodes;
  }
  void drop(Node* n) {
    if (n->stamp == stamp) {
      free(n);
    } else {
      replaced.push_back(n);
    }
  }

  // The node to write to in place of `n`; nullptr when memory ran out.
  Node* own(Node* n) {
    if (n != nullptr && n->stamp == stamp) return n;
    Node* copy = allocate();
    if (copy != nullptr && n != nullptr) {
      copy->child[0] = n->child[0];
      copy->child[1] = n->child[1];
      copy->peer = n->peer;
      replaced.push_back(n);
    }
    return copy;
  }

  bool edit(Node*& link, unsigned depth, const Edit& e) {
    if (link == nullptr && e.peer == kNoPeer) return true;
    Node* n = own(link);
    if (n == nullptr) return false;
    link = n;
    if (depth < e.prefix.length) {
      if (!edit(n->child[bit_of(e.prefix, depth)], depth + 1, e)) return false;
    } else {
      next_size += (e.peer != kNoPeer) - (n->peer != kNoPeer);
      n->peer = e.peer;
    }
    if (n->peer == kNoPeer && n->child[0] == nullptr && n->child[1] == nullptr) {
      drop(n);
      link = nullptr;
    }
    return true;
  }

  void free_stamped(Node* n) noexcept {
    if (n == nullptr || n->stamp != stamp) return;
    free_stamped(n->child[0]);
    free_stamped(n->child[1]);
    free(n);
  }

  bool walk(const Node* n, IpAddress& at, unsigned depth,
            const std::function<bool(const Prefix&, PeerIndex)>& visit) const {
    if (n == nullptr) return true;
    if (n->peer != kNoPeer && !visit(Prefix{at, static_cast<uint8_t>(depth)}, n->peer)) {
      return false;
    }
    if (!walk(n->child[0], at, depth + 1, visit)) return false;
    if (n->child[1] == nullptr) return true;
    const auto bit = static_cast<uint8_t>(0x80 >> depth % 8);
    at.bytes[depth / 8] |= bit;
    const bool more = walk(n->child[1], at, depth + 1, visit);
    at.bytes[depth / 8] &= static_cast<uint8_t>(~bit);
    return more;
  }
};

template <typename Root>
Writer<Root>::Writer(PageSource& pages) : impl_(std::make_unique<Impl>(pages)) {}
template <typename Root>
Writer<Root>::~Writer() = default;

template <typename Root>
Root Writer<Root>::head() const noexcept {
  return Root{impl_->head};
}

template <typename Root>
bool Writer<Root>::prepare(std::span<const Edit> edits) noexcept {
  CHECK(!impl_->prepared);
  impl_->prepared = true;
  ++impl_->stamp;
  impl_->next = impl_->head;
  impl_->next_size = impl_->head_size;
  for (const Edit& e : edits) {
    CHECK(e.prefix.address.family == Impl::kFamily);
    if (!impl_->edit(impl_->next, 0, e)) {
      abort();
      return false;
    }
  }
  return true;
}

template <typename Root>
Root Writer<Root>::prepared() const noexcept {
  CHECK(impl_->prepared);
  return Root{impl_->next};
}

template <typename Root>
Garbage Writer<Root>::commit() noexcept {
  CHECK(impl_->prepared);
  impl_->prepared = false;
  impl_->head = impl_->next;
  impl_->head_size = impl_->next_size;
  const Garbage ticket{++impl_->tickets};
  impl_->garbage[ticket.ticket] = std::move(impl_->replaced);
  impl_->replaced.clear();
  return ticket;
}

template <typename Root>
void Writer<Root>::abort() noexcept {
  CHECK(impl_->prepared);
  impl_->prepared = false;
  impl_->free_stamped(impl_->next);
  impl_->replaced.clear();
}

template <typename Root>
void Writer<Root>::reclaim(Garbage garbage) noexcept {
  const auto found = impl_->garbage.find(garbage.ticket);
  CHECK(found != impl_->garbage.end());
  for (Node* n : found->second) impl_->free(n);
  impl_->garbage.erase(found);
}

template <typename Root>
PeerIndex Writer<Root>::find(const Prefix& exact) const noexcept {
  const Node* n = impl_->head;
  for (unsigned depth = 0; n != nullptr && depth < exact.length; ++depth) {
    n = n->child[bit_of(exact, depth)];
  }
  return n == nullptr ? kNoPeer : n->peer;
}

template <typename Root>
uint64_t Writer<Root>::size() const noexcept {
  return impl_->head_size;
}

template <typename Root>
void Writer<Root>::walk(const std::function<bool(const Prefix&, PeerIndex)>& visit) const {
  IpAddress at{.family = Impl::kFamily, .bytes = {}};
  impl_->walk(impl_->head, at, 0, visit);
}

template <typename Root>
size_t Writer<Root>::used_bytes() const noexcept {
  return impl_->nodes * sizeof(Node);
}

template <typename Root>
size_t Writer<Root>::reserved_bytes() const noexcept {
  return impl_->slabs.size() * kSlabBytes;
}

template class Writer<RootV4>;
template class Writer<RootV6>;

}  // namespace turnpike::lookup
