// What a command may touch, so that tests can give it something else.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

namespace turnpike::cli {

struct Environment {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  size_t width = 0;       // of the terminal; 0: no terminal, lines are as long as they are
  bool colour = false;
  uint64_t now_seconds = 0;  // since 1970
  std::string socket;     // $TURNPIKE_SOCKET, or empty
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
