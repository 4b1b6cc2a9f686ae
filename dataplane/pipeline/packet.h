// A packet as the pipeline sees it: bytes with room around them, and a handle that io/ turns back into its
// mbuf. The pipeline never allocates or frees one: each packet that comes in leaves through a TxBatch or
// the drop list.
#pragma once

#include <array>
#include <cstdint>

#include "dataplane/base/check.h"
#include "dataplane/base/ids.h"
#include "dataplane/base/limits.h"

namespace turnpike::pipeline {

// What the port said about a received packet's checksums.
//   Unfinished: of TCP and UDP. If the field holds the sum of the pseudo-header alone, the frame came over no wire but out of
//               memory, from a virtual machine for one, which left the work to a device that is not there. If it holds
//               something else the port has said nothing: some drivers call so what they could not look at.
enum class RxChecksum : uint8_t { Unknown, Good, Bad, Unfinished };

struct Packet {
  uint8_t* data = nullptr;
  uint16_t length_bytes = 0;
  uint16_t headroom_bytes = 0;  // before data
  uint16_t tailroom_bytes = 0;  // after data + length
  RxChecksum ipv4_checksum = RxChecksum::Unknown;
  RxChecksum l4_checksum = RxChecksum::Unknown;  // of UDP or TCP
  bool multi_segment = false;  // rx: more bytes follow elsewhere; such a packet is dropped
  bool offload_checksums = false;  // tx: the port fills in what it offered (see PortOffloads)
  void* handle = nullptr;  // io's own

  // Moves the start; the caller checked the room.
  void push_front(uint16_t bytes) noexcept {
    DCHECK(bytes <= headroom_bytes);
    data -= bytes;
    length_bytes = static_cast<uint16_t>(length_bytes + bytes);
    headroom_bytes = static_cast<uint16_t>(headroom_bytes - bytes);
  }
  void pop_front(uint16_t bytes) noexcept {
    DCHECK(bytes <= length_bytes);
    data += bytes;
    length_bytes = static_cast<uint16_t>(length_bytes - bytes);
    headroom_bytes = static_cast<uint16_t>(headroom_bytes + bytes);
  }
  void push_back(uint16_t bytes) noexcept {
    DCHECK(bytes <= tailroom_bytes);
    length_bytes = static_cast<uint16_t>(length_bytes + bytes);
    tailroom_bytes = static_cast<uint16_t>(tailroom_bytes - bytes);
  }
  // Both ends at once: for what is put around a packet in one go.
  void extend(uint16_t front, uint16_t back) noexcept {
    DCHECK(front <= headroom_bytes && back <= tailroom_bytes);
    data -= front;
    length_bytes = static_cast<uint16_t>(length_bytes + front + back);
    headroom_bytes = static_cast<uint16_t>(headroom_bytes - front);
    tailroom_bytes = static_cast<uint16_t>(tailroom_bytes - back);
  }
  // Likewise: `length` bytes from `front` on are left.
  void narrow(uint16_t front, uint16_t length) noexcept {
    DCHECK(front + length <= length_bytes);
    tailroom_bytes = static_cast<uint16_t>(tailroom_bytes + length_bytes - front - length);
    data += front;
    headroom_bytes = static_cast<uint16_t>(headroom_bytes + front);
    length_bytes = length;
  }
  void truncate(uint16_t length) noexcept {
    DCHECK(length <= length_bytes);
    tailroom_bytes = static_cast<uint16_t>(tailroom_bytes + length_bytes - length);
    length_bytes = length;
  }
};

// Packets for one port's transmit queue, in order.
//   Bounds: kCapacity: what one receive() and one inject() can send, as each packet ends once. io/ flushes
//           (empties it) after each pair of them; a burst that does not fit is a bug.
struct TxBatch {
  static constexpr size_t kCapacity = 2 * kBurstMax;
  std::array<Packet, kCapacity> packets;
  size_t count = 0;
  [[nodiscard]] bool full() const noexcept { return count == kCapacity; }
  void push(const Packet& packet) noexcept {
    CHECK(!full());
    packets[count++] = packet;
  }
};

// All that leaves the pipeline in one turn.
struct Output {
  std::array<TxBatch, kMaxPorts> tx;
  // Finished packets for io/ to free: dropped ones (counted already) and punted ones (copied already).
  std::array<void*, 4 * kBurstMax> done;
  size_t done_count = 0;
  void finish(const Packet& packet) noexcept {
    DCHECK(done_count < done.size());  // the pipeline checks for a whole burst
    done[done_count++] = packet.handle;
  }
};

// What a port can do for us on transmit; constant after start.
struct PortOffloads {
  bool ipv4_checksum = false;
  bool udp_checksum = false;
};

}  // namespace turnpike::pipeline
