// The allowed-IPs table as the kernel has it: a path-compressed trie of one bit a step, changed in place and
// walked one address after another. A second oracle for large tables, and the rival of the benchmark. Nodes are one
// allocation each, of as many bytes as the kernel's, from memory on huge pages, where the kernel's own is.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "dataplane/base/address.h"
#include "dataplane/base/ids.h"
#include "dataplane/lookup/allowed_ips.h"

namespace turnpike::test {

// 128 bits in which IPv4 takes the upper 32.
inline lookup::Ipv6Key left_aligned(const IpAddress& a) noexcept {
  return {.high = load_be64(a.bytes.data()), .low = load_be64(a.bytes.data() + 8)};
}

class OneBitTrie {
 public:
  void set(const Prefix& p, PeerIndex peer) {
    const lookup::Ipv6Key key = left_aligned(p.address);
    std::unique_ptr<Node>* link = &root_;
    while (*link != nullptr && (*link)->length <= p.length && agrees(**link, key)) {
      if ((*link)->length == p.length) {
        (*link)->peer = peer;
        return;
      }
      link = &(*link)->child[bit(key, (*link)->length)];
    }
    auto made =
        std::make_unique<Node>(Node{.key = key, .length = p.length, .peer = peer, .child = {}});
    if (*link == nullptr) {
      *link = std::move(made);
      return;
    }
    unsigned common = common_bits((*link)->key, key);
    common = std::min({common, unsigned{(*link)->length}, unsigned{p.length}});
    if (common == p.length) {
      made->child[bit((*link)->key, common)] = std::move(*link);
      *link = std::move(made);
      return;
    }
    auto fork = std::make_unique<Node>(Node{.key = cut(key, common),
                                            .length = static_cast<uint8_t>(common),
                                            .peer = kNoPeer,
                                            .child = {}});
    const unsigned side = bit(key, common);
    fork->child[1 - side] = std::move(*link);
    fork->child[side] = std::move(made);
    *link = std::move(fork);
  }

  void remove(const Prefix& p) {
    const lookup::Ipv6Key key = left_aligned(p.address);
    std::unique_ptr<Node>* parent = nullptr;
    std::unique_ptr<Node>* link = &root_;
    while (*link != nullptr && (*link)->length < p.length && agrees(**link, key)) {
      parent = link;
      link = &(*link)->child[bit(key, (*link)->length)];
    }
    if (*link == nullptr || (*link)->length != p.length || !agrees(**link, key)) return;
    (*link)->peer = kNoPeer;
    splice(*link);
    if (parent != nullptr && *parent != nullptr && (*parent)->peer == kNoPeer) splice(*parent);
  }

  [[nodiscard]] PeerIndex longest(const lookup::Ipv6Key& key) const noexcept {
    PeerIndex best = kNoPeer;
    for (const Node* n = root_.get(); n != nullptr && agrees(*n, key);) {
      if (n->peer != kNoPeer) best = n->peer;
      if (n->length == 128) break;
      n = n->child[bit(key, n->length)].get();
    }
    return best;
  }
  [[nodiscard]] PeerIndex longest(const IpAddress& a) const noexcept {
    return longest(left_aligned(a));
  }

 private:
  struct Node {
    lookup::Ipv6Key key;
    uint8_t length;
    PeerIndex peer;
    std::unique_ptr<Node> child[2];
    uint64_t not_read[4] = {};  // the kernel's links to the parent and among a peer's nodes

    static void* operator new(size_t) { return slab().take(); }
    static void operator delete(void* node) noexcept { slab().put_back(node); }
  };
  static constexpr size_t kNodeBytes = 72;

  // Of one size; what comes back is given again, and the last to come back first. Threads: one at a time.
  class Slab {
   public:
    void* take() {
      if (free_.empty()) grow();
      void* node = free_.back();
      free_.pop_back();
      return node;
    }
    void put_back(void* node) noexcept { free_.push_back(node); }

   private:
    static constexpr size_t kHugePage = size_t{2} << 20;
    void grow() {
      void* page = std::aligned_alloc(kHugePage, kHugePage);
      if (page == nullptr) throw std::bad_alloc();
      madvise(page, kHugePage, MADV_HUGEPAGE);
      for (size_t at = kHugePage / kNodeBytes; at-- > 0;) {
        free_.push_back(static_cast<uint8_t*>(page) + at * kNodeBytes);
      }
      pages_.emplace_back(page);
    }
    struct Free {
      void operator()(void* page) const noexcept { std::free(page); }
    };
    std::vector<void*> free_;
    std::vector<std::unique_ptr<void, Free>> pages_;
  };
  static Slab& slab() {
    static Slab all;
    return all;
  }

  static unsigned bit(const lookup::Ipv6Key& k, unsigned i) noexcept {
    return static_cast<unsigned>((i < 64 ? k.high >> (63 - i) : k.low >> (127 - i)) & 1);
  }
  static unsigned common_bits(const lookup::Ipv6Key& a, const lookup::Ipv6Key& b) noexcept {
    if (a.high != b.high) return static_cast<unsigned>(__builtin_clzll(a.high ^ b.high));
    return a.low == b.low ? 128 : 64 + static_cast<unsigned>(__builtin_clzll(a.low ^ b.low));
  }
  static bool agrees(const Node& n, const lookup::Ipv6Key& key) noexcept {
    return common_bits(n.key, key) >= n.length;
  }
  static lookup::Ipv6Key cut(const lookup::Ipv6Key& k, unsigned n) noexcept {
    if (n <= 64) return {.high = n == 0 ? 0 : k.high & ~uint64_t{0} << (64 - n), .low = 0};
    return {.high = k.high, .low = k.low & ~uint64_t{0} << (128 - n)};
  }
  // A node without owner and with fewer than two children gives its place to what is below.
  static void splice(std::unique_ptr<Node>& link) {
    if (link->child[0] != nullptr && link->child[1] != nullptr) return;
    auto below = std::move(link->child[link->child[0] == nullptr ? 1 : 0]);
    link = std::move(below);
  }

  static_assert(sizeof(Node) == kNodeBytes);
  std::unique_ptr<Node> root_;
};

}  // namespace turnpike::test
