// A thread that serves who made it: signals are for others, and where there can be none, nobody fails for that.
//   Threads: make_helper_thread() from any; who made it joins it.
#pragma once

#include <pthread.h>

namespace turnpike {

// `run` gets `self`, on a thread of this name (15 letters at most) that may run where the caller may. False: there is none.
[[nodiscard]] bool make_helper_thread(pthread_t& thread, const char* name, void* (*run)(void*),
                                      void* self) noexcept;

}  // namespace turnpike
