// turnpike: the command line of the gateway.
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <string>
#include <vector>

#include "control/cli/environment.h"

namespace {

// Keys come one by one and unseen while this exists, where standard input is a terminal; Ctrl-C stays a signal.
class Keys {
 public:
  Keys() {
    is_terminal_ = tcgetattr(STDIN_FILENO, &before_) == 0;
    if (!is_terminal_) return;
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  }
  ~Keys() {
    if (is_terminal_) tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  Keys(const Keys&) = delete;
  Keys& operator=(const Keys&) = delete;

  // False when q was pressed.
  [[nodiscard]] bool wait(std::chrono::milliseconds time) const {
    pollfd input{.fd = is_terminal_ ? STDIN_FILENO : -1, .events = POLLIN, .revents = 0};
    if (poll(&input, 1, static_cast<int>(time.count())) <= 0) return true;
    char key = 0;
    return read(STDIN_FILENO, &key, 1) == 1 && key != 'q' && key != 'Q';
  }

 private:
  bool is_terminal_ = false;
  termios before_{};
};

volatile std::sig_atomic_t interrupted = 0;

double wait_for_keys(uint64_t seconds) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now(), end = start + std::chrono::seconds(seconds);
  std::signal(SIGINT, [](int) { interrupted = 1; });
  const Keys keys;
  while (Clock::now() < end && interrupted == 0) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
    if (!keys.wait(left)) return -1;
  }
  std::signal(SIGINT, SIG_DFL);
  return interrupted != 0 ? -1 : std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a daemon that cuts us off is an error to tell of
  const char* socket = std::getenv("TURNPIKE_SOCKET");
  turnpike::cli::Environment environment{.in = std::cin,
                                         .out = std::cout,
                                         .err = std::cerr,
                                         .now_seconds = static_cast<uint64_t>(std::time(nullptr)),
                                         .socket = socket == nullptr ? "" : socket,
                                         .wait = wait_for_keys};
  winsize window{};
  if (isatty(STDOUT_FILENO) != 0) {
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0) environment.width = window.ws_col;
    environment.height = window.ws_row;
    environment.colour = std::getenv("NO_COLOR") == nullptr;
  }
  const int status = turnpike::cli::run({argv + 1, argv + argc}, environment);
  std::cout.flush();
  return std::cout.good() ? status : turnpike::cli::kError;
}
