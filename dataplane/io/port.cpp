#include "dataplane/io/port.h"

#include <rte_bus_pci.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "dataplane/io/log.h"

namespace turnpike::io {
namespace {

// Sized for some 200 us of sleep of an idle worker at line rate of a virtual port.
constexpr uint16_t kQueueDescriptors = 1'024;

// DPDK's own lines say more than the number that it returns, and sometimes another thing: the number only
// where there is no line.
std::string port_error(const PortOptions& options, const std::string& what, int error) {
  const std::string details = take_last_errors();
  const std::string reason = !details.empty() ? details : error != 0 ? rte_strerror(-error) : "";
  return "port " + options.name + " (" + options.device + "): " + what +
         (reason.empty() ? "" : ": " + reason);
}

uint16_t find_port(const std::string& device) {
  rte_dev_iterator iterator;
  uint16_t id;
  RTE_ETH_FOREACH_MATCHING_DEV(id, device.c_str(), &iterator) {
    rte_eth_iterator_cleanup(&iterator);
    return id;
  }
  return RTE_MAX_ETHPORTS;
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

Result<Port, std::string> Port::open(const PortOptions& options, rte_mempool* buffers) {
  (void)take_last_errors();
  if (!is_pci_address(options.device)) {
    if (const int error = rte_dev_probe(options.device.c_str()); error != 0) {
      return fail(
          port_error(options,
                     "cannot be opened (a PCI address, or DRIVERn,key=value of a DPDK driver, "
                     "is right)",
                     error));
    }
  }
  const uint16_t id = find_port(options.device.substr(0, options.device.find(',')));
  if (id == RTE_MAX_ETHPORTS) {
    return fail(port_error(options,
                           "DPDK found no such device (dpdk-devbind.py --status lists those that "
                           "are bound to vfio-pci)",
                           0));
  }
  Port port;
  port.dpdk_id_ = id;
  port.name_ = options.name;
  port.device_ = options.device;

  rte_eth_dev_info info;
  if (const int error = rte_eth_dev_info_get(id, &info); error != 0) {
    return fail(port_error(options, "gives no information", error));
  }
  const uint16_t queues_max = std::min(info.max_rx_queues, info.max_tx_queues);
  if (options.spread == Spread::Never && options.workers > queues_max) {
    return fail("port " + options.name + " (" + options.device + "): has " +
                std::to_string(queues_max) + (queues_max == 1 ? " queue" : " queues") +
                ", but there are " + std::to_string(options.workers) +
                " workers, each of which needs one where spread is never; use spread: auto, fewer "
                "dataplane.workers, or give the device more "
                "queues (qpairs=N of net_af_packet, queues=N of net_vhost and net_virtio_user)");
  }
  const uint16_t queues = std::min(options.workers, queues_max);
  port.queues_ = queues;
  port.spread_in_software_ =
      options.workers > 1 && (options.spread == Spread::Always || queues < options.workers);
  const rte_eth_conf conf = configuration_for(info, port.offloads_, port.rss_, queues);
  if (const int error = rte_eth_dev_configure(id, queues, queues, &conf); error != 0) {
    return fail(port_error(options, "cannot be configured", error));
  }
  uint16_t rx_descriptors = kQueueDescriptors, tx_descriptors = kQueueDescriptors;
  if (const int error = rte_eth_dev_adjust_nb_rx_tx_desc(id, &rx_descriptors, &tx_descriptors);
      error != 0) {
    return fail(port_error(options, "takes no queue of the usual size", error));
  }
  // Some virtual ports have no MTU of their own to set; those that do and refuse are an error.
  if (const int error = rte_eth_dev_set_mtu(id, options.mtu_bytes);
      error != 0 && error != -ENOTSUP) {
    return fail(port_error(options,
                           "cannot have an MTU of " + std::to_string(options.mtu_bytes) +
                               " (an interface of the kernel needs CAP_NET_ADMIN)",
                           error));
  }
  const auto numa_node = static_cast<unsigned>(rte_eth_dev_socket_id(id));
  for (uint16_t queue = 0; queue < queues; ++queue) {
    int error = rte_eth_rx_queue_setup(id, queue, rx_descriptors, numa_node, nullptr, buffers);
    if (error == 0) error = rte_eth_tx_queue_setup(id, queue, tx_descriptors, numa_node, nullptr);
    if (error != 0) {
      return fail(
          port_error(options, "queue " + std::to_string(queue) + " cannot be set up", error));
    }
  }
  if (const int error = rte_eth_dev_start(id); error != 0) {
    return fail(port_error(options, "cannot be started", error));
  }
  // Where it exists: neighbour discovery needs the solicited-node groups.
  (void)rte_eth_allmulticast_enable(id);
  rte_ether_addr mac;
  if (const int error = rte_eth_macaddr_get(id, &mac); error != 0) {
    return fail(port_error(options, "has no MAC address", error));
  }
  std::memcpy(port.mac_.bytes.data(), mac.addr_bytes, sizeof(mac.addr_bytes));
  return port;
}

Port::Port(Port&& other) noexcept
    : dpdk_id_(std::exchange(other.dpdk_id_, kNone)),
      name_(std::move(other.name_)),
      device_(std::move(other.device_)),
      mac_(other.mac_),
      offloads_(other.offloads_),
      queues_(other.queues_),
      rss_(other.rss_),
      spread_in_software_(other.spread_in_software_) {}

Port::~Port() {
  if (dpdk_id_ == kNone) return;
  rte_eth_dev_info info;
  const bool known = rte_eth_dev_info_get(dpdk_id_, &info) == 0;
  rte_eth_dev_stop(dpdk_id_);
  rte_eth_dev_close(dpdk_id_);
  // What open() probed is taken away again, so that its name and its resources are free.
  if (known && !is_pci_address(device_)) rte_dev_remove(info.device);
}

PortStats Port::stats() const noexcept {
  rte_eth_stats stats{};
  rte_eth_link link{};
  PortStats out;
  if (rte_eth_stats_get(dpdk_id_, &stats) == 0) {
    out.rx_packets = stats.ipackets;
    out.tx_packets = stats.opackets;
    out.missed = stats.imissed;
    out.no_mbuf = stats.rx_nombuf;
  }
  out.up = rte_eth_link_get_nowait(dpdk_id_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
  return out;
}

}  // namespace turnpike::io
