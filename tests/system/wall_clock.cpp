// The wall clock of one process, off by as many seconds as the file $TURNPIKE_TEST_CLOCK says at that moment: LD_PRELOAD puts
// it before the C library's. The other clocks are as they are, as where a person or NTP sets the time.
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

namespace {

using Clock = int (*)(clockid_t, timespec*);
using Seconds = std::atomic<int64_t>;  // the test: writes · all threads: read

const Seconds* offset_of_the_test() {
  const char* path = getenv("TURNPIKE_TEST_CLOCK");
  const int file = path == nullptr ? -1 : open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) abort();
  void* page = mmap(nullptr, sizeof(Seconds), PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (page == MAP_FAILED) abort();
  return static_cast<const Seconds*>(page);
}

}  // namespace

extern "C" int clock_gettime(clockid_t clock, timespec* time) noexcept {
  static const auto theirs = reinterpret_cast<Clock>(dlsym(RTLD_NEXT, "clock_gettime"));
  static const Seconds* const offset = offset_of_the_test();
  const int outcome = theirs(clock, time);
  if (outcome == 0 && clock == CLOCK_REALTIME) {
    time->tv_sec += offset->load(std::memory_order_relaxed);
  }
  return outcome;
}
