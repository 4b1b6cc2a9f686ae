#include "tests/bench/loopback_link.h"

#include <rte_ethdev.h>

#include <cstdio>
#include <cstdlib>

#include "dataplane/io/eal.h"
#include "dataplane/io/log.h"
#include "dataplane/pipeline/headers.h"

namespace turnpike::bench {
namespace {

constexpr uint32_t kBuffers = 16'383;
constexpr uint16_t kFrameBytes = 2'048;

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "generator: %s\n", why.c_str());
  std::exit(1);
}

io::Port open_port(const std::string& name, const std::string& device, rte_mempool* buffers) {
  auto port = io::Port::open({.name = name, .device = device}, buffers);
  if (!port) give_up(port.error());
  return std::move(*port);
}

}  // namespace

Link::Link(unsigned core, const std::string& directory, const std::string& file_prefix) {
  // What goes wrong is said once, by give_up(); that the gateway's end closes is no mistake.
  io::install_log_sink([](io::LogLevel, std::string_view) {});
  const auto started = io::start_eal({.main_core = core,
                                      .worker_cores = {},
                                      .memory_mib = 128,
                                      .file_prefix = file_prefix,
                                      .pci_devices = {},
                                      .extra = {"--no-telemetry"}});
  if (!started) give_up(started.error());
  buffers_ = io::make_buffers("packets", kBuffers, kFrameBytes, 256);
  if (buffers_ == nullptr) give_up("no memory for buffers: " + io::take_last_errors());
  if (rte_pktmbuf_alloc_bulk(buffers_, carriers_, kBurst) != 0) give_up("no buffer left");
  const auto device = [&](int number, const char* name) {
    return "net_vhost" + std::to_string(number) + ",iface=" + directory + "/" + name +
           ".sock,queues=1,client=1";
  };
  outside_.emplace(open_port("outside", device(0, "outside"), buffers_));
  inside_.emplace(open_port("inside", device(1, "inside"), buffers_));
}

Link::~Link() {
  outside_.reset();
  inside_.reset();
  io::stop_eal();
}

bool Link::up() const noexcept { return outside_->stats().up && inside_->stats().up; }

// The cable copies what it sends, so a buffer need only point to it. Who frees it takes one of two references: it never
// goes back to the pool.
rte_mbuf* Link::carrier(size_t at, uint8_t* frame, uint16_t bytes) noexcept {
  rte_mbuf* mbuf = carriers_[at];
  rte_mbuf_refcnt_set(mbuf, 2);
  mbuf->buf_addr = frame;
  mbuf->buf_len = bytes;
  mbuf->data_off = 0;
  mbuf->data_len = bytes;
  mbuf->pkt_len = bytes;
  return mbuf;
}

uint16_t Link::send(Side side, rte_mbuf** mbufs, uint16_t count) noexcept {
  return rte_eth_tx_burst(port(side), 0, mbufs, count);
}

void Link::send(Side side, std::span<const uint8_t> frame) {
  rte_mbuf* mbuf = rte_pktmbuf_alloc(buffers_);
  if (mbuf == nullptr) give_up("no buffer left");
  char* data = rte_pktmbuf_append(mbuf, static_cast<uint16_t>(frame.size()));
  std::memcpy(data, frame.data(), frame.size());
  while (send(side, &mbuf, 1) == 0) {
  }
}

std::span<rte_mbuf*> Link::poll(Side side) noexcept {
  const uint16_t count = rte_eth_rx_burst(port(side), 0, received_, kBurst);
  uint16_t kept = 0;
  for (uint16_t i = 0; i < count; ++i) {
    const auto* frame = rte_pktmbuf_mtod(received_[i], const uint8_t*);
    if (load_le16(frame + 12) == pipeline::kEtherTypeIpv4) [[likely]] {
      received_[kept++] = received_[i];
      continue;
    }
    if (load_le16(frame + 12) == pipeline::kEtherTypeArp) answer_arp(side, frame);
    rte_pktmbuf_free(received_[i]);
  }
  return {received_, kept};
}

// Every address that is asked for is ours (RFC 826: the request turned round).
void Link::answer_arp(Side side, const uint8_t* frame) {
  if (frame[21] != 1) return;  // no request
  const MacAddress& own = side == Side::Outside ? kOwnOutsideMac : kOwnInsideMac;
  uint8_t reply[pipeline::kArpFrameBytes];
  std::memcpy(reply, frame, sizeof(reply));
  std::memcpy(reply, frame + 6, 6);
  std::memcpy(reply + 6, own.bytes.data(), 6);
  reply[21] = 2;
  std::memcpy(reply + 22, own.bytes.data(), 6);
  std::memcpy(reply + 28, frame + 38, 4);
  std::memcpy(reply + 32, frame + 22, 10);
  send(side, reply);
}

}  // namespace turnpike::bench
