#include "dataplane/publish/neighbours.h"

namespace turnpike::publish {

NeighbourTable::NeighbourTable(Epoch& epoch, uint64_t hash_key)
    : hash_key_(hash_key),
      buckets_(std::make_unique<std::atomic<uint32_t>[]>(kBuckets)),
      entries_(std::make_unique<Neighbour[]>(kMaxNeighbours)),
      retired_(epoch) {
  for (uint32_t i = 0; i < kBuckets; ++i)
    buckets_[i].store(kNoNeighbour, std::memory_order_relaxed);
  free_.reserve(kMaxNeighbours);
  for (uint32_t i = kMaxNeighbours; i-- > 0;) free_.push_back(i);
}

NeighbourIndex NeighbourTable::insert(PortIndex port, const IpAddress& address) {
  const NeighbourIndex existing = find(port, address);
  if (existing != kNoNeighbour) return existing;
  if (free_.empty()) collect();
  if (free_.empty()) return kNoNeighbour;
  const NeighbourIndex index = free_.back();
  free_.pop_back();
  Neighbour& entry = entries_[index];
  entry.port = port;
  entry.address = address;
  entry.mac_word.store(0, std::memory_order_relaxed);
  entry.last_used.store(0, std::memory_order_relaxed);
  std::atomic<uint32_t>& head = buckets_[bucket(port, AddressWords::of(address))];
  entry.next.store(head.load(std::memory_order_relaxed), std::memory_order_relaxed);
  head.store(index, std::memory_order_release);  // pairs with the acquire in find()
  ++size_;
  return index;
}

void NeighbourTable::set_mac(NeighbourIndex index, const MacAddress& mac) noexcept {
  uint64_t word = 0;
  std::memcpy(&word, mac.bytes.data(), mac.bytes.size());
  word |= Neighbour::kMacKnown;
  entries_[index].mac_word.store(word, std::memory_order_relaxed);
}

void NeighbourTable::clear_mac(NeighbourIndex index) noexcept {
  entries_[index].mac_word.store(0, std::memory_order_relaxed);
}

void NeighbourTable::remove(NeighbourIndex index) {
  Neighbour& entry = entries_[index];
  std::atomic<uint32_t>* link = &buckets_[bucket(entry.port, AddressWords::of(entry.address))];
  while (link->load(std::memory_order_relaxed) != index) {
    const uint32_t at = link->load(std::memory_order_relaxed);
    CHECK(at != kNoNeighbour);
    link = &entries_[at].next;
  }
  // The removed entry keeps its `next`: a reader that stands on it finds its way on.
  link->store(entry.next.load(std::memory_order_relaxed), std::memory_order_release);
  entry.mac_word.store(0, std::memory_order_relaxed);
  --size_;
  retired_.add(index);
}

void NeighbourTable::collect() {
  retired_.collect([this](NeighbourIndex index) { free_.push_back(index); });
}

}  // namespace turnpike::publish
