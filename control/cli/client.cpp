#include "control/cli/client.h"

#include <sys/un.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <cstdint>
#include <limits>

namespace turnpike::cli {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using Error = boost::system::error_code;

std::string cannot_connect(const std::string& socket, const Error& error) {
  if (error == asio::error::access_denied) {
    return socket +
           ": permission denied; only root, the daemon's owner and control.group may ask it";
  }
  if (error.value() == ENOENT || error == asio::error::connection_refused) {
    return "no daemon is listening at " + socket +
           "; start turnpiked, or name its socket with --socket or $TURNPIKE_SOCKET";
  }
  return socket + ": " + error.message();
}

}  // namespace

Result<Reply, std::string> ask(const std::string& path, const Ask& request,
                               const std::function<void(std::string_view)>& pieces) {
  if (path.empty() || path.size() >= sizeof(sockaddr_un::sun_path)) {
    return fail("\"" + path + "\" is no path of a socket");
  }
  asio::io_context io;
  asio::local::stream_protocol::socket socket(io);
  Error error;
  socket.connect(asio::local::stream_protocol::endpoint(path), error);
  if (error) return fail(cannot_connect(path, error));

  http::request<http::string_body> message(http::string_to_verb(request.method), request.target,
                                           11);
  message.set(http::field::host, "turnpike");
  for (const auto& [name, value] : request.headers) message.set(name, value);
  message.body() = request.body;
  message.keep_alive(false);
  message.prepare_payload();
  Error unsent;
  http::write(socket, message, unsent);  // a refusal may come before all is sent: read it anyway

  boost::beast::flat_buffer buffer;
  http::response_parser<http::buffer_body> parser;
  // Not boost::none: Beast 1.74 compares a length with that as if it were smaller than all.
  parser.body_limit(std::numeric_limits<uint64_t>::max());
  http::read_header(socket, buffer, parser, error);
  if (error) {
    return fail("the daemon at " + path +
                " gave no answer: " + (unsent ? unsent : error).message());
  }
  Reply reply{.status = parser.get().result_int(), .body = {}};
  char piece[64 * 1024];
  while (!parser.is_done()) {
    parser.get().body().data = piece;
    parser.get().body().size = sizeof(piece);
    http::read_some(socket, buffer, parser, error);  // as it comes: an answer may never end
    if (error == http::error::need_buffer) error = {};
    if (error) return fail("the answer from " + path + " ended too soon: " + error.message());
    const std::string_view got(piece, sizeof(piece) - parser.get().body().size);
    if (pieces && reply.status == 200) {
      pieces(got);
    } else {
      reply.body += got;
    }
  }
  return reply;
}

}  // namespace turnpike::cli
