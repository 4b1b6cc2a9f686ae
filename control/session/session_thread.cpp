#include "control/session/session_thread.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <boost/lockfree/spsc_queue.hpp>

#include "dataplane/base/check.h"

namespace turnpike::session {
namespace {

// In one go. Few, because one command may make as many peers as it likes, each at the cost of a handshake, and
// packets wait meanwhile.
constexpr size_t kCommandsPerTurn = 4;

uint64_t read_clock(clockid_t clock) noexcept {
  timespec at;
  clock_gettime(clock, &at);
  return static_cast<uint64_t>(at.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(at.tv_nsec);
}

void pause_for(Duration time) noexcept {
  const timespec request{.tv_sec = 0, .tv_nsec = time.count()};
  nanosleep(&request, nullptr);
}

}  // namespace

struct SessionThread::Queue {
  boost::lockfree::spsc_queue<Command*, boost::lockfree::capacity<kCommandSlots>> slots;
  ~Queue() {
    slots.consume_all([](Command* command) { delete command; });
  }
};

SessionThread::SessionThread(const SessionParts& parts, std::optional<unsigned> cpu)
    : session_(parts, read_clocks().instant),
      cpu_(cpu),
      reader_(parts.epoch.add_reader()),
      commands_(std::make_unique<Queue>()) {}

SessionThread::~SessionThread() { stop(); }

Now SessionThread::read_clocks() noexcept {
  return {.instant = {read_clock(CLOCK_MONOTONIC)}, .wall = {read_clock(CLOCK_REALTIME)}};
}

void SessionThread::start() {
  CHECK(!thread_.joinable() && published_.load(std::memory_order_relaxed) != nullptr);
  stopping_.store(false, std::memory_order_relaxed);
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "session");
  if (cpu_) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(*cpu_, &set);
    pinned_ = pthread_setaffinity_np(thread_.native_handle(), sizeof(set), &set) == 0;
  }
}

void SessionThread::stop() {
  if (!thread_.joinable()) return;
  stopping_.store(true, std::memory_order_release);  // pairs with the acquire in run()
  thread_.join();
}

uint64_t SessionThread::post(Command command) {
  auto owned = std::make_unique<Command>(std::move(command));
  while (!commands_->slots.push(owned.get())) {
    CHECK(thread_.joinable());  // nobody would ever take one
    pause_for(kSleepMin);
  }
  (void)owned.release();  // the queue's, then the thread's
  return ++posted_;
}

bool SessionThread::wait_for(uint64_t number, Duration limit) const {
  const Instant end = read_clocks().instant + limit;
  while (completed() < number) {
    if (read_clocks().instant >= end) return false;
    pause_for(kSleepMin);
  }
  return true;
}

size_t SessionThread::run_commands() {
  size_t done = 0;
  Command* next = nullptr;
  while (done < kCommandsPerTurn && commands_->slots.pop(next)) {
    const std::unique_ptr<Command> command(next);
    (*command)(session_);
    ++done;
  }
  taken_ += done;
  return done;
}

void SessionThread::run() {
  reader_.online();
  Duration pause = kSleepMin;
  while (true) {
    // Before the queue is looked at: what was posted before stop() is then seen.
    const bool stopping = stopping_.load(std::memory_order_acquire);
    reader_.begin();
    const size_t commands = run_commands();
    const publish::Snapshot* snapshot = published_.load(std::memory_order_acquire);
    const size_t done = commands + session_.turn(*snapshot, read_clocks());
    // What a command left to the turn is done, too (pairs with the acquire in completed()).
    completed_.store(taken_, std::memory_order_release);
    if (stopping && commands == 0) break;
    if (done != 0) {
      pause = kSleepMin;
    } else {
      sleep_until_work(pause);
    }
  }
  reader_.offline();
}

void SessionThread::sleep_until_work(Duration& pause) {
  const Duration until_timer = session_.next_deadline() - read_clocks().instant;
  // A deadline without end is far in the future or, as a difference, in the past.
  const bool soon = until_timer > Duration::zero() && until_timer < pause;
  reader_.offline();
  pause_for(soon ? until_timer : pause);
  reader_.online();
  pause = std::min(pause * 2, kSleepMax);
}

}  // namespace turnpike::session
