#include "dataplane/base/helper_thread.h"

#include <csignal>

namespace turnpike {

bool make_helper_thread(pthread_t& thread, const char* name, void* (*run)(void*),
                        void* self) noexcept {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const bool started = pthread_create(&thread, nullptr, run, self) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (started) pthread_setname_np(thread, name);
  return started;
}

}  // namespace turnpike
