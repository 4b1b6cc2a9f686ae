// What a command may touch, so that tests can give it something else.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

namespace turnpike::cli {

struct Environment {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  size_t width = 0;       // of the terminal; 0: no terminal, lines are as long as they are
  size_t height = 0;      // likewise
  bool colour = false;
  uint64_t now_seconds = 0;  // since 1970
  std::string socket;     // $TURNPIKE_SOCKET, or empty
  // Waits so many seconds; gives how many they were, or less than zero when q was pressed.
  std::function<double(uint64_t seconds)> wait = [](uint64_t) { return -1.0; };
};

// Exit status (design, 8).
inline constexpr int kDone = 0;
inline constexpr int kError = 1;
inline constexpr int kUsage = 2;
inline constexpr int kRefused = 3;
inline constexpr int kStale = 4;

// `arguments` without the program's name.
int run(const std::vector<std::string>& arguments, Environment& environment);

}  // namespace turnpike::cli
