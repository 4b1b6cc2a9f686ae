// The allowed IPs of one tunnel and one address family: a persistent table, longest match, value = dense
// peer index. A Root is an immutable version of it, in one of the table's copies: each NUMA node may have one.
//   Threads:   one Writer thread; lookup_burst() on any thread that holds a root which is not retired.
//   Ownership: nodes belong to the writer's arena. commit() gives back what only the old root used, as
//              Garbage; the caller passes it to reclaim() when the old root is retired by epoch, oldest
//              first.
//   Bounds:    up to kBurstMax addresses a call. Memory comes from RoomSources that can say no; when one of
//              them does, prepare() fails and the head stays as it was, in every copy.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "dataplane/base/address.h"
#include "dataplane/base/ids.h"
#include "dataplane/base/limits.h"
#include "dataplane/base/replica_pages.h"

namespace turnpike::lookup {

// 128 bits of an IPv6 address, in host order, most significant half first.
struct Ipv6Key {
  uint64_t high = 0;
  uint64_t low = 0;
  friend bool operator==(const Ipv6Key&, const Ipv6Key&) = default;
};

// An immutable version of a table. A default-made root is the empty table. Trivially copyable; good until
// it is retired.
struct RootV4 {
  const void* node = nullptr;
};
struct RootV6 {
  const void* node = nullptr;
};

// peers[i] becomes the owner of the longest prefix that contains addresses[i] (host order), or kNoPeer.
// `peers` is at least as long as `addresses`.
void lookup_burst(RootV4 root, std::span<const uint32_t> addresses,
                  std::span<PeerIndex> peers) noexcept;
void lookup_burst(RootV6 root, std::span<const Ipv6Key> addresses,
                  std::span<PeerIndex> peers) noexcept;

// One change. `peer` kNoPeer removes the prefix; otherwise it is inserted or given to `peer`.
struct Edit {
  Prefix prefix;
  PeerIndex peer = kNoPeer;
};

// What an old root used and the new one does not. Opaque; must go to reclaim() of the same writer.
struct Garbage {
  uint64_t ticket = 0;
};

// Whether stamp_of() works on the versions of a table (allowed_ips_stamps.h). An edit then copies 4 KiB more.
enum class Stamps : uint8_t { None, Kept };

template <typename Root>
class Writer {
 public:
  // A copy in each of the sources.
  explicit Writer(const ReplicaPages& pages, Stamps stamps = Stamps::None);
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // The newest committed version, as one copy has it.
  [[nodiscard]] Root head(ReplicaIndex replica = 0) const noexcept;
  // Makes a new version from the head and all edits, in their order; prefixes of the other family are a
  // bug. False when memory ran out: the head is as it was. A prepared version must be committed or aborted
  // before the next prepare().
  [[nodiscard]] bool prepare(std::span<const Edit> edits) noexcept;
  [[nodiscard]] Root prepared(ReplicaIndex replica = 0) const noexcept;
  [[nodiscard]] Garbage commit() noexcept;
  void abort() noexcept;
  void reclaim(Garbage garbage) noexcept;

  // On the head.
  [[nodiscard]] PeerIndex find(const Prefix& exact) const noexcept;
  [[nodiscard]] uint64_t size() const noexcept;  // prefixes
  // In order of address, shorter prefixes first. `visit` returns false to stop.
  void walk(const std::function<bool(const Prefix&, PeerIndex)>& visit) const;

  // Of each copy: bytes in use by nodes (live and garbage), and bytes taken from its page source.
  [[nodiscard]] size_t used_bytes() const noexcept;
  [[nodiscard]] size_t reserved_bytes() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

using WriterV4 = Writer<RootV4>;
using WriterV6 = Writer<RootV6>;

}  // namespace turnpike::lookup
