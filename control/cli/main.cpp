// turnpike: the command line of the gateway.
#include <sys/ioctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <string>
#include <vector>

#include "control/cli/environment.h"

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a daemon that cuts us off is an error to tell of
  const char* socket = std::getenv("TURNPIKE_SOCKET");
  turnpike::cli::Environment environment{.in = std::cin,
                                         .out = std::cout,
                                         .err = std::cerr,
                                         .now_seconds = static_cast<uint64_t>(std::time(nullptr)),
                                         .socket = socket == nullptr ? "" : socket};
  winsize window{};
  if (isatty(STDOUT_FILENO) != 0) {
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0) environment.width = window.ws_col;
    environment.colour = std::getenv("NO_COLOR") == nullptr;
  }
  const int status = turnpike::cli::run({argv + 1, argv + argc}, environment);
  std::cout.flush();
  return std::cout.good() ? status : turnpike::cli::kError;
}
