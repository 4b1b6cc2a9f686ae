// A server of the API over a FakeBackend, on a thread of its own, at a socket in a temporary directory.
#pragma once

#include <memory>
#include <string>

#include "control/api/http_server.h"
#include "tests/unit/api/fake_backend.h"

namespace turnpike::api {

class LiveServer {
 public:
  explicit LiveServer(HttpTimeouts timeouts = {}, AccessRule rule = {});
  ~LiveServer();
  [[nodiscard]] const std::string& directory() const { return directory_; }
  [[nodiscard]] std::string path() const { return directory_ + "/control.sock"; }
  // Runs `what` on the server's thread and waits for it.
  void on_thread(const std::function<void()>& what);
  [[nodiscard]] boost::asio::io_context& io();
  FakeBackend backend;

 private:
  struct Loop;
  std::string directory_;
  std::unique_ptr<Loop> loop_;
};

// A client of plain system calls, which can misbehave.
class RawClient {
 public:
  explicit RawClient(const std::string& path);
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;
  // False when the server has closed.
  bool send(std::string_view bytes);
  // Up to the end of the connection, or to `until`; gives up after ten seconds.
  std::string receive(std::string_view until = "");
  // What has come, at most 64 KiB; empty at the end of the connection or after ten seconds.
  std::string receive_some();
  void finish_sending();
  [[nodiscard]] bool connected() const { return socket_ >= 0; }

 private:
  int socket_ = -1;
};

// The whole answer to one request, the connection being closed after it.
std::string exchange(const std::string& path, const std::string& method, const std::string& target,
                     const std::string& body = "", const std::string& headers = "");
// The body, put together if it came in chunks.
std::string body_of(const std::string& answer);
unsigned status_of(const std::string& answer);

}  // namespace turnpike::api
