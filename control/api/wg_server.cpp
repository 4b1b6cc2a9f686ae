#include "control/api/wg_server.h"

#include <net/if.h>
#include <sys/stat.h>

#include <array>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <cerrno>
#include <cstring>

#include "control/api/wg_protocol.h"

namespace turnpike::api {
namespace {

namespace asio = boost::asio;
using Error = boost::system::error_code;
using Stream = boost::beast::basic_stream<asio::local::stream_protocol, asio::any_io_executor>;

// A read at a time is also the most that is parsed in one go.
constexpr size_t kReadBytes = 16 * 1024;
// A set of more than this, and a set that speaks of all peers where there are more than this, is not worked
// out on the control thread.
constexpr size_t kSmallSetBytes = 4 * 1024;
constexpr size_t kFewPeers = 64;

class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Backend& backend, std::string tunnel, std::chrono::milliseconds step_within,
          UnixListener::Connection connection)
      : backend_(backend),
        tunnel_name_(std::move(tunnel)),
        step_within_(step_within),
        stream_(std::move(connection.socket)),
        caller_(connection.caller),
        access_(connection.access),
        lease_(std::move(connection.lease)) {}

  void read() {
    stream_.expires_after(step_within_);
    stream_.async_read_some(asio::buffer(piece_),
                            [self = shared_from_this()](Error error, size_t bytes) {
                              if (error) return;  // gone, or silent for too long
                              self->pending_.append(self->piece_.data(), bytes);
                              wipe(self->piece_.data(), bytes);  // keys may be in it
                              self->parse();
                            });
  }

 private:
  void parse() {
    size_t at = 0;
    for (size_t newline; (newline = pending_.find('\n', at)) != pending_.npos;) {
      const std::string_view line = std::string_view(pending_).substr(at, newline - at);
      at = newline + 1;
      if (parser_.line(line)) {
        pending_.erase(0, at);
        return run();
      }
    }
    pending_.erase(0, at);
    if (pending_.size() > kMaxWgLineBytes) return finish(EPROTO, true);
    read();
  }

  void run() {
    stream_.expires_never();
    if (!backend_.ready()) {
      return backend_.when_ready([self = shared_from_this()] { self->run(); });
    }
    WgParser parser = std::exchange(parser_, {});
    const state::Tunnel* tunnel = backend_.state().find_tunnel(tunnel_name_);
    const bool set = parser.request().set;
    int error = parser.error();
    if (error == 0 && access_ != Access::All) error = EACCES;  // an answer holds the private key
    if (error == 0 && tunnel == nullptr) error = ENODEV;
    if (error == 0 && set && port_in_use(*tunnel, parser.request())) error = EADDRINUSE;
    if (error != 0) {
      negative_ = set;
      return finish(error, false);
    }
    negative_ = set;
    if (!set) {
      source_ = make_wg_get(backend_, tunnel->index);
      return write_slice();
    }
    const auto request = std::make_shared<WgRequest>(std::move(parser.request()));
    if (request->private_key && !request->private_key->is_zero()) {
      request->public_key = backend_.public_key(*request->private_key);
    }
    const bool large = parser.bytes() > kSmallSetBytes ||
                       (request->replace_peers && backend_.state().peer_slots_end() > kFewPeers);
    backend_.commit(
        [request, name = tunnel_name_](const state::State& state) {
          return wg_transaction(state, name, *request);
        },
        large, {.caller = caller_},
        [self = shared_from_this()](const CommitAnswer& answer) {
          WgAnswer out = wg_answer(self->backend_.state(), answer);
          self->reply_ = std::move(out.lines);
          self->finish(out.error, false);
        });
  }

  // Two tunnels may have the same port only on different outside ports.
  bool port_in_use(const state::Tunnel& tunnel, const WgRequest& request) const {
    if (!request.listen_port || *request.listen_port == 0) return false;
    for (const state::Tunnel& other : backend_.state().tunnels()) {
      if (other.index == kNoTunnel || other.index == tunnel.index) continue;
      if (other.listen_port == *request.listen_port &&
          backend_.tunnel_status(other.index).outside ==
              backend_.tunnel_status(tunnel.index).outside) {
        return true;
      }
    }
    return false;
  }

  void write_slice() {
    if (!backend_.ready()) {
      return backend_.when_ready([self = shared_from_this()] { self->write_slice(); });
    }
    // The tunnel may have gone between two slices, and its index be another's.
    const state::Tunnel* tunnel = backend_.state().find_tunnel(tunnel_name_);
    if (tunnel == nullptr) return;
    const bool more = source_->next(reply_);
    if (!more) {
      source_.reset();
      return finish(0, false);
    }
    const auto written = [self = shared_from_this()](Error error, size_t) {
      if (error) return;
      self->reply_.clear();
      self->write_slice();
    };
    if (reply_.empty()) {
      asio::post(stream_.get_executor(), [written] { written({}, 0); });
      return;
    }
    stream_.expires_after(step_within_);
    asio::async_write(stream_, asio::buffer(reply_), written);
  }

  // wg(8) takes errno with a minus in the answer to a set, and without in that to a get.
  void finish(int error, bool close) {
    reply_ +=
        "errno=" + std::string(error != 0 && negative_ ? "-" : "") + std::to_string(error) + "\n\n";
    stream_.expires_after(step_within_);
    asio::async_write(stream_, asio::buffer(reply_),
                      [self = shared_from_this(), close](Error failed, size_t) {
                        self->reply_.clear();
                        if (failed || close) return;
                        // Another request may follow, and may be here already.
                        self->parse();
                      });
  }

  Backend& backend_;
  std::string tunnel_name_;
  std::chrono::milliseconds step_within_;
  Stream stream_;
  Caller caller_;
  Access access_;
  std::shared_ptr<void> lease_;
  std::array<char, kReadBytes> piece_;
  std::string pending_;
  WgParser parser_;
  std::unique_ptr<BodySource> source_;
  std::string reply_;
  bool negative_ = true;
};

}  // namespace

WgServer::WgServer(asio::io_context& io, Backend& backend, std::string directory,
                   std::chrono::milliseconds step_within)
    : io_(io), backend_(backend), directory_(std::move(directory)), step_within_(step_within) {}

Result<void, std::string> WgServer::add(const std::string& tunnel) {
  if (tunnel.empty() || tunnel.size() >= IFNAMSIZ || tunnel.find('/') != std::string::npos) {
    return fail("wg(8) takes names of 1 to " + std::to_string(IFNAMSIZ - 1) +
                " characters without a slash, not \"" + tunnel + "\"");
  }
  if (::mkdir(directory_.c_str(), 0755) != 0 && errno != EEXIST) {
    return fail(directory_ + ": " + std::strerror(errno));
  }
  auto listener = UnixListener::open(io_, directory_ + "/" + tunnel + ".sock", {});
  if (!listener) return fail(std::move(listener.error()));
  (*listener)->start(
      [&backend = backend_, tunnel, within = step_within_](UnixListener::Connection connection) {
        std::make_shared<Session>(backend, tunnel, within, std::move(connection))->read();
      });
  listeners_[tunnel] = std::move(*listener);
  return {};
}

void WgServer::remove(const std::string& tunnel) { listeners_.erase(tunnel); }

}  // namespace turnpike::api
