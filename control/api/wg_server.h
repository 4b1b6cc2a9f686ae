// wg(8)'s sockets, one for each tunnel.
//   Threads: control.
//   Bounds:  kMaxConnections for each socket, lines and requests as in wg_protocol.h, half a minute for each
//            step of a client. A connection that sends nothing (wg's probes) costs nothing and is no error.
//   Life:    a socket stays open from add() to remove(): wg removes the file of one that does not answer.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>

#include "control/api/backend.h"
#include "control/api/unix_listener.h"

namespace turnpike::api {

class WgServer {
 public:
  // `backend` outlives the io_context's handlers.
  WgServer(boost::asio::io_context& io, Backend& backend, std::string directory,
           std::chrono::milliseconds step_within = std::chrono::seconds(30));

  // Makes the directory (0755) if it is not there, and the socket. The error is one line.
  [[nodiscard]] Result<void, std::string> add(const std::string& tunnel);
  void remove(const std::string& tunnel);

 private:
  boost::asio::io_context& io_;
  Backend& backend_;
  std::string directory_;
  std::chrono::milliseconds step_within_;
  std::map<std::string, std::unique_ptr<UnixListener>> listeners_;
};

}  // namespace turnpike::api
