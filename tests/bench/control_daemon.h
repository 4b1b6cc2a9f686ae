// The real daemon for the control benchmark, on ports that take and give nothing, and clients of its sockets:
// its own, raw text for wg(8)'s, and Debian's wg itself.
//   Threads: the one that made it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace turnpike::bench {

// Gives this process a place of its own where wg finds the sockets of `directory`; before any thread begins.
// The error is one line, empty when it worked.
[[nodiscard]] std::string enter_wg_namespace(const std::string& directory);

// A connection that stays. Everything that goes wrong ends the program with a line.
class Client {
 public:
  explicit Client(const std::string& path);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void send(std::string_view bytes) const;
  // All up to `end`, which comes last.
  [[nodiscard]] std::string receive(std::string_view end) const;

  void send_request(std::string_view method, std::string_view target,
                    std::string_view body = "") const;
  // Its body; ends the program unless the status is 200.
  std::string await_answer();

 private:
  int socket_ = -1;
  std::string pending_;
};

// turnpiked with two tunnels, wg0 and wg1, in a directory that goes with it.
class DaemonProcess {
 public:
  // `durable`: what it acknowledges is on the disk that has `directory`.
  DaemonProcess(std::string directory, bool durable);
  ~DaemonProcess();
  DaemonProcess(const DaemonProcess&) = delete;
  DaemonProcess& operator=(const DaemonProcess&) = delete;

  [[nodiscard]] std::string control() const { return directory_ + "/control.sock"; }
  [[nodiscard]] std::string wg(std::string_view tunnel) const {
    return directory_ + "/wireguard/" + std::string(tunnel) + ".sock";
  }
  [[nodiscard]] uint64_t resident_bytes() const;
  // One request by raw text: "set=1\n...\n\n".
  void set(std::string_view tunnel, std::string_view request) const;

 private:
  std::string directory_;
  pid_t pid_ = -1;
};

// A tunnel for wg(8) that takes everything and does nothing with it: what wg itself needs.
class DiscardingSocket {
 public:
  explicit DiscardingSocket(const std::string& path);
  ~DiscardingSocket();
  DiscardingSocket(const DiscardingSocket&) = delete;
  DiscardingSocket& operator=(const DiscardingSocket&) = delete;

 private:
  void serve() const;
  int listener_ = -1;
  std::string path_;
  std::thread thread_;
};

// Seconds that `wg ARGUMENTS...` takes; ends the program when it fails.
[[nodiscard]] double time_wg(const std::vector<std::string>& arguments);

}  // namespace turnpike::bench
