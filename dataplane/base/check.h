// CHECK stops the process on a broken invariant, also in release builds; DCHECK is for tests on each
// packet and vanishes with NDEBUG. Neither is for bad input: that is a Result or a counted drop.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace turnpike::base {

[[noreturn, gnu::cold, gnu::noinline]] inline void check_failed(const char* condition,
                                                                const char* file, int line) {
  std::fprintf(stderr, "%s:%d: CHECK failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace turnpike::base

#define CHECK(condition)                                              \
  do {                                                                \
    if (!(condition)) [[unlikely]]                                    \
      ::turnpike::base::check_failed(#condition, __FILE__, __LINE__); \
  } while (0)

#ifdef NDEBUG
#define DCHECK(condition) \
  do {                    \
    if (false) {          \
      (void)(condition);  \
    }                     \
  } while (0)
#else
#define DCHECK(condition) CHECK(condition)
#endif
