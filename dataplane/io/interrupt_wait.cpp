#include "dataplane/io/interrupt_wait.h"

#include <rte_atomic.h>
#include <rte_ethdev.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

namespace turnpike::io {

InterruptWait::~InterruptWait() {
  if (epoll_ >= 0) close(epoll_);
}

bool InterruptWait::possible() const noexcept {
  return bell_.valid() && std::ranges::all_of(ports_, [this](const Port& port) {
           return worker_ >= port.queues() || port.rx_interrupts();
         });
}

// Edges are waited for, and nothing is ever read: drivers share the descriptors with the other end, may close them at any
// time, and the number can be somebody else's by then. A descriptor that was readable before is readable when it is
// added; so the set is a new one each time, and what it has at first is taken out before the last look.
InterruptWait::Armed InterruptWait::arm() noexcept {
  if (!listening_) {
    bell_.listen();
    listening_ = true;
  }
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  Armed armed = Armed::Done;
  if (epoll_ < 0 || !add(bell_.fd())) {
    armed = Armed::Short;
  } else if (!add_queues()) {
    armed = Armed::Refused;
  }
  if (armed != Armed::Done) {
    disarm();
    leave();
    return armed;
  }
  // What turning interrupts on stored is to be seen by the other end before we look (drivers do not say).
  rte_mb();
  // All in one look, of what may ring on without end: what comes later ends the wait.
  epoll_event events[kMaxPorts + 1];
  (void)epoll_wait(epoll_, events, std::size(events), 0);
  return Armed::Done;
}

bool InterruptWait::add(int fd) const noexcept {
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.fd = fd}};
  // Devices with a single vector give all their queues the same one.
  return epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0 || errno == EEXIST;
}

bool InterruptWait::add_queues() const noexcept {
  for (const Port& port : ports_) {
    if (!port.serving() || worker_ >= port.queues()) continue;
    if (!port.rx_interrupts() || rte_eth_dev_rx_intr_enable(port.dpdk_id(), worker_) != 0) {
      return false;
    }
    const int fd = rte_eth_dev_rx_intr_ctl_q_get_fd(port.dpdk_id(), worker_);
    if (fd < 0 || !add(fd)) return false;
  }
  return true;
}

InterruptWait::End InterruptWait::wait() noexcept {
  // One of two is no bell.
  epoll_event events[2];
  const int count = epoll_wait(epoll_, events, std::size(events), kLongestMilliseconds);
  if (count == 0) return End::Over;
  for (int i = 0; i < count; ++i) {
    if (events[i].data.fd != bell_.fd()) return End::Interrupt;
  }
  return End::Bell;
}

void InterruptWait::disarm() noexcept {
  switch_off();
  if (epoll_ >= 0) close(epoll_);
  epoll_ = -1;
}

void InterruptWait::leave() noexcept {
  bell_.ignore();
  listening_ = false;
}

void InterruptWait::switch_off() const noexcept {
  for (const Port& port : ports_) {
    if (!port.serving() || worker_ >= port.queues() || !port.rx_interrupts()) continue;
    (void)rte_eth_dev_rx_intr_disable(port.dpdk_id(), worker_);
  }
}

}  // namespace turnpike::io
