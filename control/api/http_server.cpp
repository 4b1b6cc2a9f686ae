#include "control/api/http_server.h"

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include "control/api/answers.h"
#include "control/api/routes.h"
#include "control/api/url.h"
#include "dataplane/base/keys.h"

namespace turnpike::api {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Error = boost::system::error_code;

// Events are written as they happen, a JSON line each: the one answer without an end.
constexpr std::string_view kEndless = "application/jsonl";

}  // namespace

struct HttpServer::Shared {
  Shared(asio::io_context& context, Backend& behind, HttpTimeouts limits)
      : io(context),
        backend(behind),
        timeouts(limits),
        routes(behind, [this](std::function<void()> work, std::function<void()> done) {
          asio::post(helper, [this, work = std::move(work), done = std::move(done),
                              guard = asio::make_work_guard(io)]() mutable {
            work();
            asio::post(io, std::move(done));
          });
        }) {}

  asio::io_context& io;
  Backend& backend;
  HttpTimeouts timeouts;
  asio::thread_pool helper{1};
  Routes routes;
};

namespace {

using Stream = beast::basic_stream<asio::local::stream_protocol, asio::any_io_executor>;

// One connection: requests one after the other. Lives as long as one of its handlers does.
template <typename Shared>
class Session : public std::enable_shared_from_this<Session<Shared>> {
 public:
  Session(std::shared_ptr<Shared> shared, UnixListener::Connection connection)
      : shared_(std::move(shared)),
        stream_(std::move(connection.socket)),
        caller_(connection.caller),
        access_(connection.access),
        lease_(std::move(connection.lease)) {}

  void read() {
    parser_.emplace();
    parser_->header_limit(kMaxHeaderBytes);
    parser_->body_limit(kMaxDocumentBytes);
    if (buffer_.size() > 0) return read_header();
    // The first byte may take its time; what has begun has to end.
    stream_.expires_after(shared_->timeouts.idle);
    stream_.async_read_some(buffer_.prepare(4096),
                            [self = this->shared_from_this()](Error error, size_t bytes) {
                              if (error) return;
                              self->buffer_.commit(bytes);
                              self->read_header();
                            });
  }

 private:
  void read_header() {
    stream_.expires_after(shared_->timeouts.request);
    http::async_read_header(
        stream_, buffer_, *parser_,
        [self = this->shared_from_this()](Error error, size_t) { self->on_header(error); });
  }

  void on_header(Error error) {
    if (error) return on_request(error);
    // Who may not, and who asks for what there is not, need not send more.
    auto& message = parser_->get();
    request_ = {
        .method = std::string(message.method_string()), .caller = caller_, .access = access_};
    if (!parse_target(std::string(message.target()), request_.path, request_.query)) {
      return refuse(problem(400, "the target is malformed"));
    }
    if (!parser_->is_done()) {
      if (auto refusal = Routes::refuse(request_)) return refuse(std::move(*refusal));
    }
    if (beast::iequals(parser_->get()[http::field::expect], "100-continue")) {
      interim_.emplace(http::status::continue_, 11);
      http::async_write(stream_, *interim_,
                        [self = this->shared_from_this()](Error failed, size_t) {
                          if (!failed) self->read_body();
                        });
    } else {
      read_body();
    }
  }

  void read_body() {
    http::async_read(
        stream_, buffer_, *parser_,
        [self = this->shared_from_this()](Error error, size_t) { self->on_request(error); });
  }

  void on_request(Error error) {
    if (error == http::error::body_limit) {
      return refuse(problem(413, "a document has at most " +
                                     std::to_string(kMaxDocumentBytes >> 20) +
                                     " MiB; split it, or use the configuration file"));
    }
    if (error == http::error::header_limit) {
      return refuse(problem(400, "the header is too long"));
    }
    if (error == http::error::end_of_stream || error == beast::error::timeout) return;
    if (error.category() == http::make_error_code(http::error::bad_method).category()) {
      return refuse(problem(400, "this is not HTTP: " + error.message()));
    }
    if (error) return;

    auto& message = parser_->get();
    Request request = std::exchange(request_, {});
    request.content_type = media_type(std::string(message[http::field::content_type]));
    if (const auto tag = message.find(http::field::if_match); tag != message.end()) {
      request.if_match = std::string(tag->value());
    }
    request.body = std::move(message.body());
    keep_alive_ = message.keep_alive();
    // An answer may take its time (durability): no deadline until it is written.
    stream_.expires_never();
    shared_->routes.handle(
        std::move(request),
        [self = this->shared_from_this()](Response response) { self->write(std::move(response)); });
  }

  void refuse(Response response) {
    keep_alive_ = false;  // the rest of the request is still unread
    write(std::move(response));
  }

  void expect_write() {
    const auto within = endless_ ? shared_->timeouts.events : shared_->timeouts.write;
    stream_.expires_at(std::min(write_before_, std::chrono::steady_clock::now() + within));
  }

  void write(Response response) {
    write_before_ = response.bounded ? std::chrono::steady_clock::now() + shared_->timeouts.bounded
                                     : std::chrono::steady_clock::time_point::max();
    source_ = std::move(response.source);
    endless_ = response.content_type == kEndless;
    message_.emplace(http::int_to_status(response.status), 11);
    message_->set(http::field::server, "turnpike");
    message_->set(http::field::content_type, response.content_type);
    if (response.generation) {
      message_->set(http::field::etag, "\"" + std::to_string(*response.generation) + "\"");
    }
    if (!response.allow.empty()) message_->set(http::field::allow, response.allow);
    message_->keep_alive(keep_alive_);
    expect_write();
    if (!source_) {
      message_->body() = std::move(response.body);
      message_->prepare_payload();
      http::async_write(stream_, *message_, [self = this->shared_from_this()](Error error, size_t) {
        self->on_written(error);
      });
      return;
    }
    slice_ = std::move(response.body);
    message_->chunked(true);
    serializer_.emplace(*message_);
    http::async_write_header(stream_, *serializer_,
                             [self = this->shared_from_this()](Error error, size_t) {
                               if (!error) self->write_slice();
                             });
  }

  // A stream of events may be silent for long: whether its reader is still there is seen only by its end of the
  // connection, on which nothing is expected any more.
  void watch_reader() {
    if (std::exchange(watched_, true)) return;
    keep_alive_ = false;
    stream_.socket().async_wait(asio::socket_base::wait_read,
                                [self = this->shared_from_this()](Error) {
                                  self->source_.reset();
                                  self->stream_.close();
                                });
  }

  void write_slice() {
    if (!source_) return;  // its reader has gone
    const bool waits = source_->wait([weak = this->weak_from_this()] {
      const auto self = weak.lock();
      if (self) asio::post(self->stream_.get_executor(), [self] { self->write_slice(); });
    });
    if (waits) {
      stream_.expires_never();
      return watch_reader();
    }
    if (!shared_->backend.ready()) {
      return shared_->backend.when_ready(
          [self = this->shared_from_this()] { self->write_slice(); });
    }
    const bool more = source_->next(slice_);
    expect_write();
    const auto written = [self = this->shared_from_this(), more](Error error, size_t) {
      wipe(self->slice_.data(), self->slice_.size());  // keys may have been in it
      self->slice_.clear();
      if (error) return;  // too slow, or gone: cut off
      if (more) return self->write_slice();
      asio::async_write(self->stream_, http::make_chunk_last(),
                        [self](Error failed, size_t) { self->on_written(failed); });
    };
    if (slice_.empty()) {
      // Nothing in this slice (it looked at free slots only); others first, all the same.
      asio::post(stream_.get_executor(), [written] { written({}, 0); });
    } else {
      asio::async_write(stream_, http::make_chunk(asio::buffer(slice_)), written);
    }
  }

  void on_written(Error error) {
    source_.reset();
    serializer_.reset();
    message_.reset();
    if (error) return;
    if (keep_alive_) return read();
    if (watched_) return stream_.close();
    Error ignored;
    stream_.socket().shutdown(asio::socket_base::shutdown_send, ignored);
  }

  std::shared_ptr<Shared> shared_;
  Stream stream_;
  Caller caller_;
  Access access_;
  std::shared_ptr<void> lease_;
  beast::flat_buffer buffer_;
  Request request_;  // its header
  std::optional<http::request_parser<http::string_body>> parser_;
  std::optional<http::response<http::empty_body>> interim_;
  std::optional<http::response<http::string_body>> message_;
  std::optional<http::response_serializer<http::string_body>> serializer_;
  std::unique_ptr<BodySource> source_;
  std::string slice_;
  std::chrono::steady_clock::time_point write_before_;
  bool keep_alive_ = false;
  bool endless_ = false;
  bool watched_ = false;
};

}  // namespace

HttpServer::HttpServer(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

HttpServer::~HttpServer() { shared_->helper.join(); }

Result<std::unique_ptr<HttpServer>, std::string> HttpServer::start(asio::io_context& io,
                                                                   Backend& backend,
                                                                   const std::string& path,
                                                                   AccessRule rule,
                                                                   HttpTimeouts timeouts) {
  auto listener = UnixListener::open(io, path, rule);
  if (!listener) return fail(std::move(listener.error()));
  std::unique_ptr<HttpServer> server(
      new HttpServer(std::make_shared<Shared>(io, backend, timeouts)));
  server->listener_ = std::move(*listener);
  server->listener_->start([shared = server->shared_](UnixListener::Connection connection) {
    std::make_shared<Session<Shared>>(shared, std::move(connection))->read();
  });
  return server;
}

}  // namespace turnpike::api
