#include "control/cli/client.h"

#include <sys/un.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <cstdint>
#include <limits>

#include "dataplane/base/keys.h"

namespace turnpike::cli {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using Error = boost::system::error_code;

// What an answer is read through; it may hold keys, and is wiped when it dies.
struct Buffers {
  static constexpr size_t kBytes = 64 * 1024;
  Buffers() { unread.reserve(2 * kBytes); }  // never grows
  ~Buffers() {
    wipe(piece, kBytes);
    unread.clear();
    const auto memory = unread.prepare(unread.capacity());
    wipe(memory.data(), memory.size());
  }
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;

  char piece[kBytes];
  boost::beast::flat_buffer unread{2 * kBytes};
};

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

  Buffers buffers;
  http::response_parser<http::buffer_body> parser;
  // Not boost::none: Beast 1.74 compares a length with that as if it were smaller than all.
  parser.body_limit(std::numeric_limits<uint64_t>::max());
  http::read_header(socket, buffers.unread, parser, error);
  if (error) {
    return fail("the daemon at " + path +
                " gave no answer: " + (unsent ? unsent : error).message());
  }
  Reply reply{.status = parser.get().result_int(), .body = {}};
  while (!parser.is_done()) {
    parser.get().body().data = buffers.piece;
    parser.get().body().size = Buffers::kBytes;
    http::read_some(socket, buffers.unread, parser, error);  // as it comes: an answer may never end
    if (error == http::error::need_buffer) error = {};
    if (error == http::error::partial_message || error == asio::error::connection_reset) {
      return fail("the daemon at " + path + " has closed the connection; was it stopped?");
    }
    if (error) return fail("the answer from " + path + " ended too soon: " + error.message());
    const std::string_view got(buffers.piece, Buffers::kBytes - parser.get().body().size);
    if (pieces && reply.status == 200) {
      pieces(got);
    } else {
      reply.body += got;
    }
  }
  return reply;
}

}  // namespace turnpike::cli
