// GET /metrics over TCP, and nothing else, for Prometheus.
//   Threads: control (the io_context's one thread).
//   Bounds:  kMaxScrapers connections (others are closed), 4 KiB of request, ten seconds for each step.
//   Access:  anybody who reaches the address; bind it to where only the right ones do.
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>

#include "control/api/backend.h"
#include "dataplane/base/address.h"
#include "dataplane/base/result.h"

namespace turnpike::api {

inline constexpr size_t kMaxScrapers = 16;

class MetricsServer {
 public:
  // The error is one line. `backend` outlives the io_context's handlers. Port 0: any that is free.
  [[nodiscard]] static Result<std::unique_ptr<MetricsServer>, std::string> start(
      boost::asio::io_context& io, Backend& backend, const Endpoint& at);
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  [[nodiscard]] uint16_t port() const;

 private:
  struct Listener;
  explicit MetricsServer(std::shared_ptr<Listener> listener);
  std::shared_ptr<Listener> listener_;
};

}  // namespace turnpike::api
