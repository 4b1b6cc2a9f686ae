#include "tests/unit/api/live_server.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <thread>

#include "dataplane/base/check.h"

namespace turnpike::api {

struct LiveServer::Loop {
  boost::asio::io_context io{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard{io.get_executor()};
  std::unique_ptr<HttpServer> server;
  std::thread thread;
};

LiveServer::LiveServer(HttpTimeouts timeouts, AccessRule rule) : loop_(std::make_unique<Loop>()) {
  add_three_peers(backend);
  char name[] = "/tmp/turnpike-api-XXXXXX";
  CHECK(mkdtemp(name) != nullptr);
  directory_ = name;
  auto server = HttpServer::start(loop_->io, backend, path(), rule, timeouts);
  if (!server) std::fprintf(stderr, "%s\n", server.error().c_str());
  CHECK(server.has_value());
  loop_->server = std::move(*server);
  loop_->thread = std::thread([this] { loop_->io.run(); });
}

LiveServer::~LiveServer() {
  loop_->io.stop();
  loop_->thread.join();
  loop_->server.reset();
  loop_.reset();
  std::filesystem::remove_all(directory_);
}

boost::asio::io_context& LiveServer::io() { return loop_->io; }

void LiveServer::on_thread(const std::function<void()>& what) {
  std::promise<void> done;
  boost::asio::post(loop_->io, [&] {
    what();
    done.set_value();
  });
  done.get_future().wait();
}

RawClient::RawClient(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  socket_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    ::close(socket_);
    socket_ = -1;
  }
}

RawClient::~RawClient() {
  if (socket_ >= 0) ::close(socket_);
}

bool RawClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

void RawClient::finish_sending() { ::shutdown(socket_, SHUT_WR); }

std::string RawClient::receive(std::string_view until) {
  std::string all;
  while (until.empty() || !all.ends_with(until)) {
    const std::string piece = receive_some();
    if (piece.empty()) break;
    all += piece;
  }
  return all;
}

std::string RawClient::receive_some() {
  char piece[65'536];
  pollfd waits{.fd = socket_, .events = POLLIN, .revents = 0};
  if (::poll(&waits, 1, 10'000) <= 0) return {};
  const ssize_t got = ::recv(socket_, piece, sizeof(piece), 0);
  return got <= 0 ? std::string() : std::string(piece, static_cast<size_t>(got));
}

std::string exchange(const std::string& path, const std::string& method, const std::string& target,
                     const std::string& body, const std::string& headers) {
  RawClient client(path);
  client.send(method + " " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + headers +
              "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  return client.receive();
}

unsigned status_of(const std::string& answer) {
  return answer.size() < 12 ? 0 : static_cast<unsigned>(std::atoi(answer.c_str() + 9));
}

std::string body_of(const std::string& answer) {
  const size_t head = answer.find("\r\n\r\n");
  if (head == answer.npos) return "";
  std::string rest = answer.substr(head + 4);
  if (answer.substr(0, head).find("chunked") == std::string::npos) return rest;
  std::string body;
  for (size_t at = 0; at < rest.size();) {
    const size_t length = std::strtoul(rest.c_str() + at, nullptr, 16);
    if (length == 0) return body;
    at = rest.find("\r\n", at) + 2;
    body += rest.substr(at, length);
    at += length + 2;
  }
  return body + "(cut off)";
}

}  // namespace turnpike::api
