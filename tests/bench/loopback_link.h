// The generator's two cables to the gateway: net_vhost ports, the gateway's virtio_user at the other ends.
//   Threads: one.
#pragma once

#include <rte_mbuf.h>

#include <optional>
#include <span>
#include <string>

#include "dataplane/io/port.h"
#include "tests/bench/loopback_addresses.h"

namespace turnpike::bench {

enum class Side : uint8_t { Outside, Inside };

class Link {
 public:
  static constexpr uint16_t kBurst = 32;

  // Starts the EAL on CPU `core`; ends the program with a line that says why when something does not work. The
  // sockets are DIRECTORY/outside.sock and inside.sock; the gateway makes them, before or after.
  Link(unsigned core, const std::string& directory, const std::string& file_prefix);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // Both cables have a gateway at their other ends.
  [[nodiscard]] bool up() const noexcept;

  // A buffer for `frame`, which stays where it is: `at` (below kBurst) says which. Free for another one as soon as it
  // was sent, or is not to be.
  [[nodiscard]] rte_mbuf* carrier(size_t at, uint8_t* frame, uint16_t bytes) noexcept;
  // How many the gateway's ring had room for; the others stay the caller's.
  [[nodiscard]] uint16_t send(Side side, rte_mbuf** mbufs, uint16_t count) noexcept;
  // One frame, as soon as there is room.
  void send(Side side, std::span<const uint8_t> frame);
  // What has come: IP packets, to be freed by the caller. ARP requests are answered here.
  [[nodiscard]] std::span<rte_mbuf*> poll(Side side) noexcept;

 private:
  void answer_arp(Side side, const uint8_t* frame);
  [[nodiscard]] uint16_t port(Side side) const noexcept {
    return side == Side::Outside ? outside_->dpdk_id() : inside_->dpdk_id();
  }

  rte_mempool* buffers_ = nullptr;
  std::optional<io::Port> outside_, inside_;
  rte_mbuf* carriers_[kBurst];
  rte_mbuf* received_[kBurst];
};

}  // namespace turnpike::bench
