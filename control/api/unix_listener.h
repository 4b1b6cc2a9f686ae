// A listening UNIX stream socket: made without a window in which strangers could connect, cleared of a
// predecessor that died, and with the caller's credentials for each connection.
//   Threads: control.
//   Bounds:  kMaxConnections at a time; the next ones wait in the backlog until one ends. Of them readers, who
//            may only look, have kMaxConnectionsOfReaders, and each user of theirs kMaxConnectionsOfReader: what
//            is above is closed, so that they keep nobody out who may do more.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "control/api/request.h"
#include "dataplane/base/result.h"

namespace turnpike::api {

inline constexpr size_t kMaxConnections = 256;
inline constexpr size_t kMaxConnectionsOfReaders = 192;
inline constexpr size_t kMaxConnectionsOfReader = 64;

using UnixSocket = boost::asio::local::stream_protocol::socket;

// What callers may do: root and the daemon's own user all, members of `group` read, others nothing.
struct AccessRule {
  std::optional<gid_t> group;
};

class UnixListener {
 public:
  // `lease` is the connection's place among kMaxConnections: kept as long as the connection is.
  struct Connection {
    UnixSocket socket;
    Caller caller;
    Access access = Access::None;
    std::shared_ptr<void> lease;
  };
  using Handler = std::function<void(Connection)>;

  // Binds and listens, mode 0660 with a group and 0600 without. A socket file on which nobody listens is
  // replaced; one that is alive is an error, as is a file of another kind. The error is one line.
  [[nodiscard]] static Result<std::unique_ptr<UnixListener>, std::string> open(
      boost::asio::io_context& io, const std::string& path, AccessRule rule);
  // Removes the socket file, unless it is another one by now.
  ~UnixListener();
  UnixListener(const UnixListener&) = delete;
  UnixListener& operator=(const UnixListener&) = delete;

  void start(Handler handler);
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  UnixListener(boost::asio::io_context& io, std::string path, AccessRule rule);
  Result<void, std::string> bind_and_listen();
  void accept();
  [[nodiscard]] Access access_of(int socket, const Caller& caller) const;
  // A place for as long as the pointer lives; none when such a caller has his share.
  [[nodiscard]] std::shared_ptr<void> take_place(uid_t user, Access access);

  struct Places;  // taken and to be told of; outlives the listener in the leases
  boost::asio::local::stream_protocol::acceptor acceptor_;
  boost::asio::steady_timer retry_;
  std::string path_;
  AccessRule rule_;
  Handler handler_;
  std::shared_ptr<Places> places_;
  uint64_t device_ = 0;  // of the socket file that is ours
  uint64_t inode_ = 0;
};

}  // namespace turnpike::api
