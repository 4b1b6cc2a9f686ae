#include "dataplane/publish/doorbell.h"

#include <linux/membarrier.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dataplane/base/check.h"

namespace turnpike::publish {
namespace {

bool membarrier(int command) noexcept { return syscall(SYS_membarrier, command, 0, 0) == 0; }

}  // namespace

Doorbell::Doorbell() noexcept
    : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      valid_(fd_ >= 0 && membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)) {}

Doorbell::~Doorbell() {
  if (fd_ >= 0) close(fd_);
}

void Doorbell::listen() noexcept {
  listening_.store(true, std::memory_order_relaxed);
  // On every CPU that runs one of our threads: who has not seen it has what it stored before seen by us.
  CHECK(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED));
}

void Doorbell::wake() const noexcept {
  // It fails only when it was rung 2^64 times.
  (void)!eventfd_write(fd_, 1);
}

}  // namespace turnpike::publish
