#include "dataplane/io/port.h"

#include <net/if.h>
#include <rte_alarm.h>
#include <rte_bus_pci.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <semaphore>
#include <string_view>
#include <tuple>
#include <utility>

#include "dataplane/base/check.h"
#include "dataplane/io/log.h"

namespace turnpike::io {
namespace {

// Sized for some 200 us of sleep of an idle worker at line rate of a virtual port.
constexpr uint16_t kQueueDescriptors = 1'024;
constexpr uint16_t kNoId = 0xffff;

// DPDK's own lines say more than the number that it returns, and sometimes another thing: the number only
// where there is no line.
std::string port_error(const PortOptions& options, const std::string& what, int error) {
  const std::string details = take_last_errors();
  const std::string reason = !details.empty() ? details : error != 0 ? rte_strerror(-error) : "";
  return "port " + options.name + " (" + options.device + "): " + what +
         (reason.empty() ? "" : ": " + reason);
}

// The interface of the kernel that a port is the driver's end of; empty: it is something else. Not a tap, whose
// interface is the driver's own and may have been moved to another namespace.
std::string kernel_interface(const std::string& device) {
  if (!device.starts_with("net_af_packet") && !device.starts_with("net_af_xdp")) return {};
  constexpr std::string_view kKey = ",iface=";
  const size_t at = device.find(kKey);
  if (at == std::string::npos) return {};
  const size_t begin = at + kKey.size();
  return device.substr(begin, device.find(',', begin) - begin);
}

// 0: there is none.
uint32_t interface_index(const std::string& name) {
  return name.empty() ? 0 : if_nametoindex(name.c_str());
}

bool interface_runs(const std::string& name) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  ifreq request{};
  name.copy(request.ifr_name, sizeof(request.ifr_name) - 1);
  const bool known = ioctl(fd, SIOCGIFFLAGS, &request) == 0;
  ::close(fd);
  constexpr short kRuns = IFF_UP | IFF_RUNNING;
  return known && (request.ifr_flags & kRuns) == kRuns;
}

bool is_af_xdp(const std::string& device) { return device.starts_with("net_af_xdp"); }

bool is_virtio_user(const std::string& device) { return device.starts_with("net_virtio_user"); }

// Whether a device may have RX interrupts. Other virtual drivers (DPDK 22.11) take the wish and do nothing about it.
bool may_interrupt(const std::string& device) {
  return is_pci_address(device) || is_virtio_user(device) || device.starts_with("net_vhost");
}

// Runs `work` on the EAL's interrupt thread, after what is waiting there, and waits until it is done.
void on_interrupt_thread(std::function<void()> work) {
  static std::binary_semaphore done{0};  // of the main thread, which alone comes here
  constexpr uint64_t kAfterOthersMicroseconds = 10;  // virtio-user's are set with one
  const auto run = [](void* given) {
    (*static_cast<std::function<void()>*>(given))();
    done.release();
  };
  CHECK(rte_eal_alarm_set(kAfterOthersMicroseconds, run, &work) == 0);
  done.acquire();
}

uint16_t find_port(const std::string& device) {
  rte_dev_iterator iterator;
  uint16_t id;
  RTE_ETH_FOREACH_MATCHING_DEV(id, device.c_str(), &iterator) {
    rte_eth_iterator_cleanup(&iterator);
    return id;
  }
  return kNoId;
}

rte_eth_conf configuration_for(const rte_eth_dev_info& info, pipeline::PortOffloads& offloads,
                               bool& rss, uint16_t queues) {
  rte_eth_conf conf{};
  conf.rxmode.offloads =
      info.rx_offload_capa & (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM);
  conf.txmode.offloads =
      info.tx_offload_capa & (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM);
  offloads.ipv4_checksum = (conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) != 0;
  offloads.udp_checksum = (conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_UDP_CKSUM) != 0;
  const uint64_t hash =
      info.flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP);
  rss = queues > 1 && hash != 0;
  if (rss) {
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf.rss_hf = hash;
  }
  return conf;
}

}  // namespace

bool is_pci_address(const std::string& device) {
  rte_pci_addr address;
  return rte_pci_addr_parse(device.substr(0, device.find(',')).c_str(), &address) == 0;
}

rte_mempool* make_buffers(const char* name, uint32_t count, uint16_t frame_bytes, unsigned cache) {
  const auto room =
      static_cast<uint16_t>(RTE_PKTMBUF_HEADROOM + kHeadroomBytes + frame_bytes + kTailroomBytes);
  return rte_pktmbuf_pool_create(name, count, cache, 0, room, SOCKET_ID_ANY);
}

BufferUse use_of(const rte_mempool& buffers) noexcept {
  return {.buffers = buffers.size, .in_use = rte_mempool_in_use_count(&buffers)};
}

Result<Port, std::string> Port::open(const PortOptions& options, rte_mempool* buffers) {
  Port port;
  port.options_ = options;
  port.buffers_ = buffers;
  if (std::string error = port.start(); !error.empty()) return fail(std::move(error));
  rte_ether_addr mac;
  if (const int error = rte_eth_macaddr_get(port.dpdk_id_, &mac); error != 0) {
    return fail(port_error(options, "has no MAC address", error));
  }
  std::memcpy(port.mac_.bytes.data(), mac.addr_bytes, sizeof(mac.addr_bytes));
  port.buffers_served_ = true;
  port.serving_.store(true, std::memory_order_release);
  return port;
}

std::string Port::probe() {
  const std::string& device = options_.device;
  if (!is_pci_address(device)) {
    if (const int error = rte_dev_probe(device.c_str()); error != 0) {
      return port_error(options_,
                        "cannot be opened (a PCI address, or DRIVERn,key=value of a DPDK driver, "
                        "is right)",
                        error);
    }
  }
  dpdk_id_ = find_port(device.substr(0, device.find(',')));
  if (dpdk_id_ != kNone) return {};
  return port_error(options_,
                    "DPDK found no such device (dpdk-devbind.py --status lists those that "
                    "are bound to vfio-pci)",
                    0);
}

std::string Port::start() {
  (void)take_last_errors();
  if (std::string error = probe(); !error.empty()) return error;
  interface_index_ = interface_index(kernel_interface(options_.device));
  rte_eth_dev_info info;
  if (const int error = rte_eth_dev_info_get(dpdk_id_, &info); error != 0) {
    return port_error(options_, "gives no information", error);
  }
  const uint16_t queues_max = std::min(info.max_rx_queues, info.max_tx_queues);
  if (options_.spread == Spread::Never && options_.workers > queues_max) {
    return "port " + options_.name + " (" + options_.device + "): has " +
           std::to_string(queues_max) + (queues_max == 1 ? " queue" : " queues") +
           ", but there are " + std::to_string(options_.workers) +
           " workers, each of which needs one where spread is never; use spread: auto, fewer "
           "dataplane.workers, or give the device more "
           "queues (qpairs=N of net_af_packet, queues=N of net_vhost and net_virtio_user)";
  }
  queues_ = std::min(options_.workers, queues_max);
  spread_in_software_ =
      options_.workers > 1 && (options_.spread == Spread::Always || queues_ < options_.workers);
  rte_eth_conf conf = configuration_for(info, offloads_, rss_, queues_);
  // Without link interrupts virtio-user (DPDK 22.11) does on the thread that asks for the link what belongs to the
  // interrupt thread; and its handler, which a lost connection makes it register all the same, outlives the port.
  conf.intr_conf.lsc =
      is_virtio_user(options_.device) && (*info.dev_flags & RTE_ETH_DEV_INTR_LSC) != 0;
  conf.intr_conf.rxq = options_.rx_interrupts && may_interrupt(options_.device);
  std::string error = configure_and_start(conf);
  if (!error.empty() && conf.intr_conf.rxq != 0) {
    // Maybe for want of vectors.
    conf.intr_conf.rxq = 0;
    (void)take_last_errors();
    error = configure_and_start(conf);
  }
  if (!error.empty()) return error;
  rx_interrupts_ = conf.intr_conf.rxq != 0 && has_rx_interrupts();
  // Where it exists: neighbour discovery needs the solicited-node groups.
  (void)rte_eth_allmulticast_enable(dpdk_id_);
  return {};
}

std::string Port::configure_and_start(const rte_eth_conf& conf) {
  std::string error;
  if (conf.intr_conf.rxq != 0 && is_virtio_user(options_.device)) {
    // Then configuring registers its handler before there are queues, and starting registers it once more
    // (DPDK 22.11). On this thread no handler runs, and starting again leaves a single one.
    on_interrupt_thread([&] {
      error = configure_and_start_here(conf);
      if (!error.empty()) return;
      rte_eth_dev_stop(dpdk_id_);
      if (const int code = rte_eth_dev_start(dpdk_id_); code != 0) {
        error = port_error(options_, "cannot be started", code);
      }
    });
  } else {
    error = configure_and_start_here(conf);
  }
  return error;
}

std::string Port::configure_and_start_here(const rte_eth_conf& conf) {
  if (const int error = rte_eth_dev_configure(dpdk_id_, queues_, queues_, &conf); error != 0) {
    return port_error(options_, "cannot be configured", error);
  }
  if (std::string error = set_up_queues(); !error.empty()) return error;
  if (const int error = rte_eth_dev_start(dpdk_id_); error != 0) {
    return port_error(options_, "cannot be started", error);
  }
  return {};
}

bool Port::has_rx_interrupts() const noexcept {
  for (uint16_t queue = 0; queue < queues_; ++queue) {
    if (rte_eth_dev_rx_intr_enable(dpdk_id_, queue) != 0 ||
        rte_eth_dev_rx_intr_disable(dpdk_id_, queue) != 0 ||
        rte_eth_dev_rx_intr_ctl_q_get_fd(dpdk_id_, queue) < 0) {
      return false;
    }
  }
  return true;
}

std::string Port::set_up_queues() {
  uint16_t rx_descriptors = kQueueDescriptors, tx_descriptors = kQueueDescriptors;
  if (const int error =
          rte_eth_dev_adjust_nb_rx_tx_desc(dpdk_id_, &rx_descriptors, &tx_descriptors);
      error != 0) {
    return port_error(options_, "takes no queue of the usual size", error);
  }
  // Some virtual ports have no MTU of their own to set; those that do and refuse are an error.
  if (const int error = rte_eth_dev_set_mtu(dpdk_id_, options_.mtu_bytes);
      error != 0 && error != -ENOTSUP) {
    return port_error(options_,
                      "cannot have an MTU of " + std::to_string(options_.mtu_bytes) +
                          " (an interface of the kernel needs CAP_NET_ADMIN)",
                      error);
  }
  const auto numa_node = static_cast<unsigned>(rte_eth_dev_socket_id(dpdk_id_));
  for (uint16_t queue = 0; queue < queues_; ++queue) {
    int error =
        rte_eth_rx_queue_setup(dpdk_id_, queue, rx_descriptors, numa_node, nullptr, buffers_);
    if (error == 0) {
      error = rte_eth_tx_queue_setup(dpdk_id_, queue, tx_descriptors, numa_node, nullptr);
    }
    if (error != 0) {
      return port_error(options_, "queue " + std::to_string(queue) + " cannot be set up", error);
    }
  }
  return {};
}

Port::Port(Port&& other) noexcept
    : options_(std::move(other.options_)),
      buffers_(other.buffers_),
      buffers_served_(other.buffers_served_),
      serving_(other.serving()),
      dpdk_id_(std::exchange(other.dpdk_id_, kNone)),
      interface_index_(other.interface_index_),
      before_(other.before_),
      mac_(other.mac_),
      offloads_(other.offloads_),
      queues_(other.queues_),
      rss_(other.rss_),
      rx_interrupts_(other.rx_interrupts_),
      spread_in_software_(other.spread_in_software_) {}

Port::~Port() { close(); }

void Port::close() noexcept {
  if (dpdk_id_ == kNone) return;
  before_ = stats();
  rte_eth_dev_info info;
  const bool known = rte_eth_dev_info_get(dpdk_id_, &info) == 0;
  if (is_virtio_user(options_.device)) {
    // Its handler cannot be unregistered while it runs, which stopping does not tell (DPDK 22.11); and a lost
    // connection is cleared up by an alarm that closing does not cancel. On this thread no handler runs, and when
    // it comes round again nothing is left.
    on_interrupt_thread([this] { rte_eth_dev_stop(dpdk_id_); });
    on_interrupt_thread([] {});
    rte_eth_dev_close(dpdk_id_);
  } else if (options_.device.starts_with("net_memif")) {
    // Closing ends the connection, whose handlers use it on the interrupt thread.
    on_interrupt_thread([this] {
      rte_eth_dev_stop(dpdk_id_);
      rte_eth_dev_close(dpdk_id_);
    });
    on_interrupt_thread([] {});
  } else {
    rte_eth_dev_stop(dpdk_id_);
    rte_eth_dev_close(dpdk_id_);
  }
  // What open() probed is taken away again, so that its name and its resources are free.
  if (known && !is_pci_address(options_.device)) rte_dev_remove(info.device);
  dpdk_id_ = kNone;
}

std::string Port::replace_buffers() {
  if (!is_af_xdp(options_.device) || !buffers_served_) return {};
  // Both rings of each queue, twice: some buffers are with the kernel; and what workers hold.
  const uint32_t count = queues_ * 2 * 2 * 2 * kQueueDescriptors + options_.workers * 1'024 - 1;
  static unsigned made = 0;  // main thread
  const std::string name = "packets-" + std::to_string(++made);
  rte_mempool* buffers =
      rte_pktmbuf_pool_create(name.c_str(), count, buffers_->cache_size, 0,
                              rte_pktmbuf_data_room_size(buffers_), SOCKET_ID_ANY);
  if (buffers == nullptr) {
    return port_error(options_,
                      "memory for its buffers is short, of which this driver keeps those of each "
                      "interface that was deleted; raise dataplane.memory and restart the daemon",
                      0);
  }
  buffers_ = buffers;
  buffers_served_ = false;
  return {};
}

Result<void, std::string> Port::reopen() {
  CHECK(!serving() && dpdk_id_ == kNone);
  const std::string interface = kernel_interface(options_.device);
  if (!interface.empty() && interface_index(interface) == 0) {
    return fail(port_error(options_, "the interface " + interface + " is gone", 0));
  }
  const auto shape = [this] {
    return std::tuple(queues_, offloads_.ipv4_checksum, offloads_.udp_checksum, rss_);
  };
  const auto before = shape();
  std::string error = replace_buffers();
  if (error.empty()) error = start();
  if (error.empty() && shape() != before) {
    // Workers share out its flows, and leave checksums to it, as they were told at the start.
    error = port_error(options_, "has other queues or offloads than before; restart the daemon", 0);
  }
  if (!error.empty()) {
    close();
    std::tie(queues_, offloads_.ipv4_checksum, offloads_.udp_checksum, rss_) = before;
    return fail(std::move(error));
  }
  // Neighbours know it by the address that it had. Where that cannot be set, the interface is promiscuous.
  rte_ether_addr mac;
  std::memcpy(mac.addr_bytes, mac_.bytes.data(), sizeof(mac.addr_bytes));
  (void)rte_eth_dev_default_mac_addr_set(dpdk_id_, &mac);
  buffers_served_ = true;
  serving_.store(true, std::memory_order_release);
  return {};
}

bool Port::must_be_reopened(bool up) const noexcept {
  const std::string& device = options_.device;
  if (const std::string interface = kernel_interface(device); !interface.empty()) {
    return interface_index(interface) != interface_index_;
  }
  if (up) return false;
  const auto says = [&](const char* part) { return device.find(part) != std::string::npos; };
  if (device.starts_with("net_memif")) return !says("role=server") && !says("role=master");
  return is_virtio_user(device) && !says("server=1");
}

PortStats Port::running_stats() const noexcept {
  rte_eth_stats stats{};
  rte_eth_link link{};
  PortStats out;
  if (dpdk_id_ == kNone) return out;
  if (rte_eth_stats_get(dpdk_id_, &stats) == 0) {
    out.rx_packets = stats.ipackets;
    out.tx_packets = stats.opackets;
    out.missed = stats.imissed;
    out.no_mbuf = stats.rx_nombuf;
  }
  out.up = rte_eth_link_get_nowait(dpdk_id_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
  // The drivers of the kernel's interfaces say "up" whatever these are.
  if (interface_index_ != 0) out.up &= interface_runs(kernel_interface(options_.device));
  return out;
}

PortStats Port::stats() const noexcept {
  PortStats out = running_stats();
  out.rx_packets += before_.rx_packets;
  out.tx_packets += before_.tx_packets;
  out.missed += before_.missed;
  out.no_mbuf += before_.no_mbuf;
  return out;
}

}  // namespace turnpike::io
