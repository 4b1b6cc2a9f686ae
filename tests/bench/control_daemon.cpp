#include "tests/bench/control_daemon.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace turnpike::bench {
namespace {

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(1);
}

std::string system_error(const std::string& what) { return what + ": " + std::strerror(errno); }

void write_file(const std::string& path, const std::string& text, mode_t mode = 0600) {
  std::ofstream(path) << text;
  if (::chmod(path.c_str(), mode) != 0) die(system_error(path));
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) die(path + " is too long for a socket");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

double monotonic_seconds() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

// As configured CPUs go: control and session thread on the first, the workers on the first and the last.
std::string config_text(const std::string& directory, bool durable) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) die(system_error("sched_getaffinity"));
  int first = -1, last = -1;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &set)) continue;
    if (first < 0) first = cpu;
    last = cpu;
  }
  const std::string workers =
      std::to_string(first) + (last == first ? "" : ", " + std::to_string(last));
  const std::string cpu = std::to_string(first);
  std::string text =
      "dataplane:\n  workers: [" + workers + "]\n  main_core: " + cpu + "\n  session_cores: [" +
      cpu + "]\n  hugepages: false\n  memory: 128\n  file_prefix: bench-" +
      std::to_string(getpid()) +
      "\nports:\n"
      "  - {name: outside, device: \"net_null0,no-rx=1\", addresses: [192.0.2.1/24]}\n"
      "  - {name: inside, device: \"net_null1,no-rx=1\", addresses: [10.0.0.1/24]}\n"
      "tunnels:\n";
  for (int tunnel = 0; tunnel < 2; ++tunnel) {
    text += "  - {name: wg" + std::to_string(tunnel) + ", private_key_file: wg" +
            std::to_string(tunnel) + ".key, listen_port: " + std::to_string(51820 + tunnel) +
            ", outside: outside, inside: inside, peers: []}\n";
  }
  return text + "control:\n  socket: " + directory +
         "/control.sock\n  wg_socket_dir: " + directory +
         "/wireguard\n  metrics: \"\"\n  state: " + directory +
         "/state.db\n  durability: " + (durable ? "full" : "off") + "\n";
}

std::string daemon_path() {
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe");
  return self.parent_path() / "../../control/daemon/turnpiked";
}

}  // namespace

std::string enter_wg_namespace(const std::string& directory) {
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  if (::unshare(CLONE_NEWNS | (uid == 0 ? 0 : CLONE_NEWUSER)) != 0) {
    return system_error("a mount namespace for wg");
  }
  if (uid != 0) {
    std::ofstream("/proc/self/setgroups") << "deny";
    std::ofstream("/proc/self/uid_map") << "0 " << uid << " 1";
    std::ofstream("/proc/self/gid_map") << "0 " << gid << " 1";
  }
  const std::string sockets = directory + "/wireguard";
  ::mkdir(sockets.c_str(), 0755);
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("none", "/run", "tmpfs", 0, nullptr) != 0 || ::mkdir("/run/wireguard", 0755) != 0 ||
      ::mount(sockets.c_str(), "/run/wireguard", nullptr, MS_BIND, nullptr) != 0) {
    return system_error("/run/wireguard");
  }
  return "";
}

Client::Client(const std::string& path) {
  const sockaddr_un address = address_of(path);
  socket_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    die(system_error(path));
  }
}

Client::~Client() { ::close(socket_); }

void Client::send(std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) die(system_error("the daemon has closed"));
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

std::string Client::receive(std::string_view end) const {
  std::string all;
  char piece[65'536];
  while (!all.ends_with(end)) {
    const ssize_t got = ::recv(socket_, piece, sizeof(piece), 0);
    if (got <= 0) die(system_error("the daemon has closed"));
    all.append(piece, static_cast<size_t>(got));
  }
  return all;
}

void Client::send_request(std::string_view method, std::string_view target,
                          std::string_view body) const {
  std::string request(method);
  request.append(" ").append(target).append(" HTTP/1.1\r\nHost: x\r\nContent-Length: ");
  request.append(std::to_string(body.size())).append("\r\n\r\n").append(body);
  send(request);
}

std::string Client::await_answer() {
  size_t head = std::string::npos, length = 0;
  char piece[4096];
  while (true) {
    if (head == std::string::npos && (head = pending_.find("\r\n\r\n")) != std::string::npos) {
      const size_t at = pending_.find("Content-Length: ");
      if (!pending_.starts_with("HTTP/1.1 200") || at > head) die("answered: " + pending_);
      length = std::strtoul(pending_.c_str() + at + 16, nullptr, 10);
      head += 4;
    }
    if (head != std::string::npos && pending_.size() >= head + length) break;
    const ssize_t got = ::recv(socket_, piece, sizeof(piece), 0);
    if (got <= 0) die(system_error("the daemon has closed"));
    pending_.append(piece, static_cast<size_t>(got));
  }
  std::string body = pending_.substr(head, length);
  pending_.erase(0, head + length);
  return body;
}

DaemonProcess::DaemonProcess(std::string directory, bool durable)
    : directory_(std::move(directory)) {
  const std::string program = daemon_path();
  const std::string config = directory_ + "/turnpike.yaml";
  write_file(config, config_text(directory_, durable));
  for (const char* tunnel : {"wg0", "wg1"}) {
    // Any 32 bytes are a key once they are clamped.
    write_file(directory_ + "/" + tunnel + ".key",
               std::string(42, tunnel[2] == '1' ? 'C' : 'E') + "A=\n");
  }
  pid_ = ::fork();
  if (pid_ == 0) {
    const int log = ::open((directory_ + "/log").c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0600);
    ::dup2(log, 1);
    ::dup2(log, 2);
    ::execl(program.c_str(), "turnpiked", "--config", config.c_str(), nullptr);
    ::_exit(127);
  }
  for (int tries = 0; tries < 1200; ++tries) {
    if (std::filesystem::exists(wg("wg1"))) return;
    if (::waitpid(pid_, nullptr, WNOHANG) != 0) break;
    ::usleep(50'000);
  }
  std::ifstream log(directory_ + "/log");
  die(program + " did not start:\n" + std::string(std::istreambuf_iterator<char>(log), {}));
}

DaemonProcess::~DaemonProcess() {
  ::kill(pid_, SIGTERM);
  ::waitpid(pid_, nullptr, 0);
}

uint64_t DaemonProcess::resident_bytes() const {
  std::ifstream file("/proc/" + std::to_string(pid_) + "/statm");
  uint64_t all = 0, resident = 0;
  file >> all >> resident;
  return resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

void DaemonProcess::set(std::string_view tunnel, std::string_view request) const {
  const Client client(wg(tunnel));
  client.send(request);
  const std::string answer = client.receive("\n\n");
  if (answer != "errno=0\n\n") die("set: " + answer);
}

DiscardingSocket::DiscardingSocket(const std::string& path) : path_(path) {
  const sockaddr_un address = address_of(path);
  listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::listen(listener_, 8) != 0) {
    die(system_error(path));
  }
  thread_ = std::thread([this] { serve(); });
}

DiscardingSocket::~DiscardingSocket() {
  ::shutdown(listener_, SHUT_RDWR);
  thread_.join();
  ::close(listener_);
  ::unlink(path_.c_str());
}

void DiscardingSocket::serve() const {
  std::vector<char> piece(size_t{1} << 18);
  for (int client; (client = ::accept(listener_, nullptr, nullptr)) >= 0; ::close(client)) {
    std::string end;
    ssize_t got;
    while ((got = ::recv(client, piece.data(), piece.size(), 0)) > 0) {
      end.append(piece.data() + std::max<ssize_t>(0, got - 2),
                 std::min<size_t>(2, static_cast<size_t>(got)));
      if (!end.ends_with("\n\n")) {
        end.erase(0, end.size() - 1);
        continue;
      }
      (void)!::send(client, "errno=0\n\n", 9, MSG_NOSIGNAL);
      break;
    }
  }
}

double time_wg(const std::vector<std::string>& arguments) {
  std::vector<char*> argv{const_cast<char*>("wg")};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const double start = monotonic_seconds();
  const pid_t child = ::fork();
  if (child == 0) {
    ::execvp("wg", argv.data());
    ::_exit(127);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    die("wg " + arguments.front() + " ended with " + std::to_string(WEXITSTATUS(status)));
  }
  return monotonic_seconds() - start;
}

}  // namespace turnpike::bench
