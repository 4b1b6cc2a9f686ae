#include "control/api/unix_listener.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <vector>

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59  // Linux 4.13; missing in older headers
#endif

namespace turnpike::api {
namespace {

using boost::asio::local::stream_protocol;

std::string error_text(const std::string& what, int error) {
  return what + ": " + std::strerror(error);
}

std::vector<gid_t> groups_of(int socket) {
  std::vector<gid_t> groups(64);
  for (int attempt = 0; attempt < 3; ++attempt) {
    auto length = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &length) == 0) {
      groups.resize(length / sizeof(gid_t));
      return groups;
    }
    if (errno != ERANGE) break;
    groups.resize(length / sizeof(gid_t));
  }
  return {};
}

// Whether somebody listens at `path`.
bool is_alive(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return false;
  const int rc = ::connect(probe, reinterpret_cast<sockaddr*>(&address), sizeof(address));
  // EAGAIN: its backlog is full, so it has one.
  const bool alive = rc == 0 || errno == EAGAIN || errno == EINPROGRESS;
  ::close(probe);
  return alive;
}

}  // namespace

struct UnixListener::Places {
  size_t taken = 0;
  size_t readers = 0;
  std::map<uid_t, size_t> of_reader;
  std::function<void()> on_free;  // set while the listener waits for a place
};

UnixListener::UnixListener(boost::asio::io_context& io, std::string path, AccessRule rule)
    : acceptor_(io),
      retry_(io),
      path_(std::move(path)),
      rule_(rule),
      places_(std::make_shared<Places>()) {}

UnixListener::~UnixListener() {
  places_->on_free = nullptr;
  struct stat now{};
  if (inode_ != 0 && ::lstat(path_.c_str(), &now) == 0 && now.st_dev == device_ &&
      now.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
}

Result<std::unique_ptr<UnixListener>, std::string> UnixListener::open(boost::asio::io_context& io,
                                                                      const std::string& path,
                                                                      AccessRule rule) {
  std::unique_ptr<UnixListener> listener(new UnixListener(io, path, rule));
  if (auto done = listener->bind_and_listen(); !done) return fail(std::move(done.error()));
  return listener;
}

Result<void, std::string> UnixListener::bind_and_listen() {
  if (path_.empty() || path_.size() >= sizeof(sockaddr_un::sun_path)) {
    return fail(path_ + ": the path of a socket has 1 to " +
                std::to_string(sizeof(sockaddr_un::sun_path) - 1) + " characters");
  }
  struct stat present{};
  if (::lstat(path_.c_str(), &present) == 0) {
    if (!S_ISSOCK(present.st_mode)) return fail(path_ + ": is there and is no socket");
    if (is_alive(path_)) return fail(path_ + ": another process is listening there");
    if (::unlink(path_.c_str()) != 0 && errno != ENOENT) return fail(error_text(path_, errno));
  }
  boost::system::error_code error;
  acceptor_.open(stream_protocol(), error);
  if (!error) acceptor_.bind(stream_protocol::endpoint(path_), error);
  if (error) return fail(error_text(path_, error.value()));
  if (::lstat(path_.c_str(), &present) != 0) return fail(error_text(path_, errno));
  device_ = present.st_dev;
  inode_ = present.st_ino;
  // Nobody can connect before listen(), so that there is no moment with other rights.
  if (rule_.group && ::chown(path_.c_str(), static_cast<uid_t>(-1), *rule_.group) != 0) {
    return fail(error_text(path_ + ": group " + std::to_string(*rule_.group), errno));
  }
  if (::chmod(path_.c_str(), rule_.group ? 0660 : 0600) != 0) {
    return fail(error_text(path_, errno));
  }
  acceptor_.listen(boost::asio::socket_base::max_listen_connections, error);
  if (error) return fail(error_text(path_, error.value()));
  return {};
}

void UnixListener::start(Handler handler) {
  handler_ = std::move(handler);
  accept();
}

Access UnixListener::access_of(int socket, const Caller& caller) const {
  if (caller.uid == 0 || caller.uid == ::geteuid()) return Access::All;
  if (!rule_.group) return Access::None;
  if (caller.gid == *rule_.group) return Access::Read;
  const std::vector<gid_t> groups = groups_of(socket);
  return std::ranges::find(groups, *rule_.group) != groups.end() ? Access::Read : Access::None;
}

void UnixListener::accept() {
  if (places_->taken >= kMaxConnections) {
    places_->on_free = [this] { accept(); };
    return;
  }
  acceptor_.async_accept([this](boost::system::error_code error, UnixSocket socket) {
    if (error == boost::asio::error::operation_aborted) return;
    if (error) {
      // Out of descriptors or memory: what is waiting stays in the backlog; asking again at once would spin.
      retry_.expires_after(std::chrono::milliseconds(100));
      retry_.async_wait([this](boost::system::error_code cancelled) {
        if (!cancelled) accept();
      });
      return;
    }
    ucred credentials{};
    socklen_t length = sizeof(credentials);
    if (getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0) {
      Connection connection{
          .socket = std::move(socket),
          .caller = {.uid = credentials.uid, .gid = credentials.gid, .pid = credentials.pid},
          .access = Access::None,
          .lease = nullptr};
      connection.access = access_of(connection.socket.native_handle(), connection.caller);
      connection.lease = take_place(credentials.uid, connection.access);
      if (connection.lease != nullptr) handler_(std::move(connection));
    }
    accept();
  });
}

std::shared_ptr<void> UnixListener::take_place(uid_t user, Access access) {
  const bool reader = access != Access::All;
  if (reader) {
    if (places_->readers >= kMaxConnectionsOfReaders) return nullptr;
    size_t& his = places_->of_reader[user];
    if (his >= kMaxConnectionsOfReader) return nullptr;
    ++his;
    ++places_->readers;
  }
  ++places_->taken;
  return {places_.get(), [places = places_, user, reader](void*) {
            if (reader) {
              --places->readers;
              const auto his = places->of_reader.find(user);
              if (--his->second == 0) places->of_reader.erase(his);
            }
            --places->taken;
            if (const auto tell = std::exchange(places->on_free, nullptr)) tell();
          }};
}

}  // namespace turnpike::api
