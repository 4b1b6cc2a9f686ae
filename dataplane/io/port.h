// One DPDK port: a PCI address or a vdev string, with one RX and one TX queue for each worker, or as many as it has.
//   Threads:   open(), close(), stats() on the main thread; the queues belong to the workers.
#pragma once

#include <cstdint>
#include <string>

#include "dataplane/base/address.h"
#include "dataplane/base/result.h"
#include "dataplane/pipeline/packet.h"

struct rte_mempool;

namespace turnpike::io {

enum class Spread : uint8_t {
  Auto,  // by the port, and in software where it has fewer queues than there are workers
  Always,  // in software: for ports whose other end puts everything on one queue
  Never,  // such a port is not opened
};

struct PortOptions {
  std::string name;  // for people
  std::string device;  // as in the configuration
  uint16_t mtu_bytes = 1500;
  uint16_t workers = 1;  // each gets a queue, as far as the port has them
  Spread spread = Spread::Auto;
};

struct PortStats {
  bool up = false;
  uint64_t rx_packets = 0, tx_packets = 0;
  uint64_t missed = 0;  // the port had no room in its RX queue
  uint64_t no_mbuf = 0;  // RX without a buffer
};

// Room in front of a received frame for all that encapsulation adds: outer IPv6, UDP, data header.
inline constexpr uint16_t kHeadroomBytes = 128;
// Behind it: padding and tag.
inline constexpr uint16_t kTailroomBytes = 32;

// The buffers of all ports. nullptr, with the reason in take_last_errors(), when memory is short.
[[nodiscard]] rte_mempool* make_buffers(const char* name, uint32_t count, uint16_t frame_bytes,
                                        unsigned cache);

// Whether the configuration's device string is a PCI address, which the EAL probes at its start.
[[nodiscard]] bool is_pci_address(const std::string& device);

class Port {
 public:
  // Probes, configures and starts; the error is one line naming the port.
  [[nodiscard]] static Result<Port, std::string> open(const PortOptions& options,
                                                      rte_mempool* buffers);
  Port(Port&& other) noexcept;
  Port& operator=(Port&&) = delete;
  ~Port();  // stops and closes

  [[nodiscard]] uint16_t dpdk_id() const noexcept { return dpdk_id_; }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] MacAddress mac() const noexcept { return mac_; }
  [[nodiscard]] pipeline::PortOffloads offloads() const noexcept { return offloads_; }
  // Queue i belongs to worker i.
  [[nodiscard]] uint16_t queues() const noexcept { return queues_; }
  [[nodiscard]] bool receive_side_scaling() const noexcept { return rss_; }
  // The workers have to share out what they receive (io/spreader.h).
  [[nodiscard]] bool spread_in_software() const noexcept { return spread_in_software_; }
  [[nodiscard]] PortStats stats() const noexcept;

 private:
  Port() = default;
  uint16_t dpdk_id_ = kNone;
  std::string name_;
  std::string device_;
  MacAddress mac_;
  pipeline::PortOffloads offloads_;
  uint16_t queues_ = 0;
  bool rss_ = false;
  bool spread_in_software_ = false;
  static constexpr uint16_t kNone = 0xffff;
};

}  // namespace turnpike::io
