// One DPDK port: a PCI address or a vdev string, with one RX and one TX queue for each worker, or as many as it has.
// A port whose other end or interface has been away may have to be opened anew: withdraw() it, wait until every worker
// has begun another turn (an epoch of its own), close() and reopen() it.
//   Threads:   the main thread. The queues belong to the workers, which ask serving(), and of a port that serves dpdk_id(),
//              queues() and rx_interrupts(): opening it anew writes these.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "dataplane/base/address.h"
#include "dataplane/base/result.h"
#include "dataplane/pipeline/packet.h"

struct rte_eth_conf;
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
  bool rx_interrupts = false;  // wanted, where the device has them
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

// Main thread. In use: in queues of ports and on their way, not in the caches of workers.
struct BufferUse {
  uint32_t buffers = 0, in_use = 0;
};
[[nodiscard]] BufferUse use_of(const rte_mempool& buffers) noexcept;

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

  // Of a port that serves.
  [[nodiscard]] uint16_t dpdk_id() const noexcept { return dpdk_id_; }
  // Acquire pairs with the release in reopen().
  [[nodiscard]] bool serving() const noexcept { return serving_.load(std::memory_order_acquire); }
  // Whether it can serve again only when it is opened anew: a client of memif or virtio_user whose server went away,
  // an interface of the kernel that was deleted.
  [[nodiscard]] bool must_be_reopened(bool up) const noexcept;
  void withdraw() noexcept { serving_.store(false, std::memory_order_relaxed); }
  void close() noexcept;
  // As open(), with the address that it had. On an error it stays closed.
  [[nodiscard]] Result<void, std::string> reopen();
  [[nodiscard]] const std::string& name() const noexcept { return options_.name; }
  [[nodiscard]] MacAddress mac() const noexcept { return mac_; }
  [[nodiscard]] pipeline::PortOffloads offloads() const noexcept { return offloads_; }
  // Queue i belongs to worker i.
  [[nodiscard]] uint16_t queues() const noexcept { return queues_; }
  [[nodiscard]] bool receive_side_scaling() const noexcept { return rss_; }
  // Each queue has one that can be turned on and waited for. As dpdk_id(), of a port that serves.
  [[nodiscard]] bool rx_interrupts() const noexcept { return rx_interrupts_; }
  // The workers have to share out what they receive (io/spreader.h).
  [[nodiscard]] bool spread_in_software() const noexcept { return spread_in_software_; }
  [[nodiscard]] PortStats stats() const noexcept;

 private:
  Port() = default;
  [[nodiscard]] std::string start();
  [[nodiscard]] std::string probe();
  // net_af_xdp (DPDK 22.11) never gives back what lies in its rings, so each life after the first has buffers of its own.
  [[nodiscard]] std::string replace_buffers();
  [[nodiscard]] std::string configure_and_start(const rte_eth_conf& conf);
  [[nodiscard]] std::string configure_and_start_here(const rte_eth_conf& conf);
  [[nodiscard]] std::string set_up_queues();
  [[nodiscard]] bool has_rx_interrupts() const noexcept;
  [[nodiscard]] PortStats running_stats() const noexcept;

  PortOptions options_;
  rte_mempool* buffers_ = nullptr;
  bool buffers_served_ = false;
  std::atomic<bool> serving_{false};  // main: writes · workers: read
  uint16_t dpdk_id_ = kNone;
  uint32_t interface_index_ = 0;  // of the kernel's interface, when it was opened; 0: it has none
  PortStats before_;  // of its earlier lives
  MacAddress mac_;
  pipeline::PortOffloads offloads_;
  uint16_t queues_ = 0;
  bool rss_ = false;
  bool rx_interrupts_ = false;
  bool spread_in_software_ = false;
  static constexpr uint16_t kNone = 0xffff;
};

}  // namespace turnpike::io
