// HTTP/1.1 on a UNIX socket, in front of Routes.
//   Threads: control (the io_context's one thread); documents are parsed on a helper thread of its own.
//   Bounds:  kMaxConnections, kMaxHeaderBytes, kMaxDocumentBytes (413), kRequestWithin for a whole request,
//            kIdleWithin between two, kWriteWithin for each slice of an answer, and where it is `bounded` a time for
//            all of it. Who is slower is cut off. A reader of events may stand still for longer: what it keeps is
//            bounded, and it should find the line that says that it was too slow.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "control/api/backend.h"
#include "control/api/unix_listener.h"

namespace turnpike::api {

inline constexpr uint32_t kMaxHeaderBytes = 16 * 1024;

struct HttpTimeouts {
  std::chrono::milliseconds request{30'000};
  std::chrono::milliseconds idle{60'000};
  std::chrono::milliseconds write{30'000};
  std::chrono::milliseconds bounded{300'000};  // for the whole of a `bounded` answer
  std::chrono::milliseconds events{300'000};  // for each slice of a stream of events
};

class HttpServer {
 public:
  // The error is one line. `backend` outlives the io_context's handlers.
  [[nodiscard]] static Result<std::unique_ptr<HttpServer>, std::string> start(
      boost::asio::io_context& io, Backend& backend, const std::string& path, AccessRule rule,
      HttpTimeouts timeouts = {});
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

 private:
  struct Shared;
  explicit HttpServer(std::shared_ptr<Shared> shared);
  std::shared_ptr<Shared> shared_;  // with the sessions
  std::unique_ptr<UnixListener> listener_;
};

}  // namespace turnpike::api
