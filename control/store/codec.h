// Values as bytes, for columns that are not numbers or texts: prefixes, endpoints, the way back from a commit,
// declarations of a file. Numbers are little endian, texts and lists carry their length.
//   Reading: never beyond the bytes; what is no value gives nothing.
//   Secrets: buffers are wiped when they are let go.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "config/config.h"
#include "control/state/transaction.h"
#include "dataplane/base/bytes.h"

namespace turnpike::store {

template <typename T>
struct WipingAllocator {
  using value_type = T;
  WipingAllocator() = default;
  template <typename U>
  explicit WipingAllocator(const WipingAllocator<U>&) {}
  T* allocate(size_t count) { return std::allocator<T>().allocate(count); }
  void deallocate(T* memory, size_t count) {
    wipe(memory, count * sizeof(T));
    std::allocator<T>().deallocate(memory, count);
  }
  friend bool operator==(const WipingAllocator&, const WipingAllocator&) { return true; }
};
using Buffer = std::vector<uint8_t, WipingAllocator<uint8_t>>;

[[nodiscard]] Buffer encode(const Prefix& prefix);  // family, address, length
[[nodiscard]] std::optional<Prefix> decode_prefix(Bytes bytes);

[[nodiscard]] Buffer encode(const Endpoint& endpoint);  // empty: none
[[nodiscard]] std::optional<Endpoint> decode_endpoint(Bytes bytes);

// Its edits; comment, generation and policy are not the way back's.
[[nodiscard]] Buffer encode(const state::Transaction& transaction);
[[nodiscard]] std::optional<state::Transaction> decode_transaction(Bytes bytes);

// Without its name and its peers.
[[nodiscard]] Buffer encode(const config::Tunnel& tunnel);
[[nodiscard]] std::optional<config::Tunnel> decode_file_tunnel(Bytes bytes);

// Without its key.
[[nodiscard]] Buffer encode(const config::Peer& peer);
[[nodiscard]] std::optional<config::Peer> decode_file_peer(Bytes bytes);

}  // namespace turnpike::store
