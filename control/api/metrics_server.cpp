#include "control/api/metrics_server.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <optional>

#include "control/api/metrics.h"

namespace turnpike::api {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Error = boost::system::error_code;
using tcp = asio::ip::tcp;

constexpr std::chrono::seconds kStepWithin{10};
constexpr uint32_t kMaxRequestBytes = 4 * 1024;

// One request, one answer, the end.
class Scrape : public std::enable_shared_from_this<Scrape> {
 public:
  Scrape(tcp::socket socket, Backend& backend, std::shared_ptr<void> lease)
      : stream_(std::move(socket)), backend_(backend), lease_(std::move(lease)) {}

  void read() {
    parser_.header_limit(kMaxRequestBytes);
    parser_.body_limit(0);
    stream_.expires_after(kStepWithin);
    http::async_read(stream_, buffer_, parser_, [self = shared_from_this()](Error error, size_t) {
      if (!error) self->answer();
    });
  }

 private:
  void answer() {
    const auto& request = parser_.get();
    response_.version(11);
    response_.keep_alive(false);
    response_.set(http::field::server, "turnpike");
    if (request.target() != "/metrics") return refuse(http::status::not_found, "only /metrics\n");
    if (request.method() != http::verb::get) {
      response_.set(http::field::allow, "GET");
      return refuse(http::status::method_not_allowed, "only GET\n");
    }
    source_ = make_metrics(backend_);
    response_.set(http::field::content_type, kMetricsType);
    slice();
  }

  // Others between two slices.
  void slice() {
    backend_.when_ready([self = shared_from_this()] {
      if (!self->source_->next(self->response_.body())) return self->write();
      asio::post(self->stream_.get_executor(), [self] { self->slice(); });
    });
  }

  void refuse(http::status status, const char* text) {
    response_.result(status);
    response_.set(http::field::content_type, "text/plain; charset=utf-8");
    response_.body() = text;
    write();
  }

  void write() {
    response_.prepare_payload();
    stream_.expires_after(kStepWithin);
    http::async_write(stream_, response_, [self = shared_from_this()](Error, size_t) {
      Error ignored;
      self->stream_.socket().shutdown(tcp::socket::shutdown_both, ignored);
    });
  }

  beast::tcp_stream stream_;
  Backend& backend_;
  std::shared_ptr<void> lease_;
  beast::flat_buffer buffer_;
  http::request_parser<http::string_body> parser_;
  http::response<http::string_body> response_;
  std::unique_ptr<BodySource> source_;
};

}  // namespace

struct MetricsServer::Listener : std::enable_shared_from_this<MetricsServer::Listener> {
  Listener(asio::io_context& io, Backend& daemon) : acceptor(io), backend(daemon) {}

  void accept() {
    acceptor.async_accept([self = shared_from_this()](Error error, tcp::socket socket) {
      if (error == asio::error::operation_aborted) return;
      if (!error && self->scrapers < kMaxScrapers) {
        ++self->scrapers;
        std::shared_ptr<void> lease(nullptr, [self](void*) { --self->scrapers; });
        std::make_shared<Scrape>(std::move(socket), self->backend, std::move(lease))->read();
      }
      self->accept();
    });
  }

  tcp::acceptor acceptor;
  Backend& backend;
  size_t scrapers = 0;
};

MetricsServer::MetricsServer(std::shared_ptr<Listener> listener) : listener_(std::move(listener)) {}

MetricsServer::~MetricsServer() {
  Error ignored;
  listener_->acceptor.close(ignored);
}

uint16_t MetricsServer::port() const {
  Error error;
  return listener_->acceptor.local_endpoint(error).port();
}

Result<std::unique_ptr<MetricsServer>, std::string> MetricsServer::start(asio::io_context& io,
                                                                         Backend& backend,
                                                                         const Endpoint& at) {
  Error error;
  const std::string text = to_string(at.address);
  const auto address = asio::ip::make_address(text, error);
  if (error) return fail(text + " is no address to listen at");
  const tcp::endpoint endpoint(address, at.port);
  auto listener = std::make_shared<Listener>(io, backend);
  tcp::acceptor& acceptor = listener->acceptor;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) {
    return fail(to_string(at) + " cannot be listened at: " + error.message() +
                "; name another address, or \"\" for no metrics");
  }
  listener->accept();
  return std::unique_ptr<MetricsServer>(new MetricsServer(std::move(listener)));
}

}  // namespace turnpike::api
