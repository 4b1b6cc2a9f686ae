// Starts functions on threads of their own, all at the same moment, and joins them.
#pragma once

#include <latch>
#include <thread>
#include <utility>
#include <vector>

namespace turnpike::sim {

template <typename... Functions>
void run_together(Functions&&... functions) {
  std::latch ready(sizeof...(functions));
  std::vector<std::jthread> threads;
  (threads.emplace_back([&ready, run = std::forward<Functions>(functions)]() mutable {
    ready.arrive_and_wait();
    run();
  }),
   ...);
}

}  // namespace turnpike::sim
