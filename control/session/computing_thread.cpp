#include "control/session/computing_thread.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

#include <algorithm>

#include "dataplane/base/check.h"

namespace turnpike::session {
namespace {

constexpr size_t kAtOnce = 16;  // between two looks at whether to stop

}  // namespace

bool place_thread(std::thread& thread, const std::string& name, std::optional<unsigned> cpu) {
  pthread_setname_np(thread.native_handle(), name.c_str());
  if (!cpu) return true;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(*cpu, &set);
  return pthread_setaffinity_np(thread.native_handle(), sizeof(set), &set) == 0;
}

Duration time_of_thread(std::thread& thread) noexcept {
  clockid_t clock;
  timespec time;
  if (pthread_getcpuclockid(thread.native_handle(), &clock) != 0) return Duration::zero();
  if (clock_gettime(clock, &time) != 0) return Duration::zero();
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

bool ComputingThread::start(const std::string& name, std::optional<unsigned> cpu) {
  CHECK(!thread_.joinable());
  stopping_.store(false, std::memory_order_relaxed);
  thread_ = std::thread([this] { run(); });
  return place_thread(thread_, name, cpu);
}

void ComputingThread::stop() {
  if (!thread_.joinable()) return;
  stopping_.store(true, std::memory_order_relaxed);
  thread_.join();
}

void ComputingThread::run() {
  Duration pause = kSleepMin;
  while (!stopping_.load(std::memory_order_relaxed)) {
    const size_t done = ring_.work(random_, kAtOnce);
    if (done != 0) {
      pause = kSleepMin;
      continue;
    }
    const timespec request{.tv_sec = 0, .tv_nsec = pause.count()};
    nanosleep(&request, nullptr);
    pause = std::min(pause * 2, kSleepMax);
  }
}

}  // namespace turnpike::session
