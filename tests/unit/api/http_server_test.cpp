#include "control/api/http_server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/unit/api/live_server.h"

namespace turnpike::api {
namespace {

using nlohmann::json;

TEST(HttpServer, ShowsEverythingByTheContract) {
  LiveServer server;
  const std::string answer = exchange(server.path(), "GET", "/v1/show");
  ASSERT_EQ(status_of(answer), 200u) << answer;
  EXPECT_NE(answer.find("ETag: \"2\""), std::string::npos) << answer;
  const json all = json::parse(body_of(answer));
  EXPECT_EQ(all.at("generation"), 2);
  EXPECT_EQ(all.at("tunnels").at(0).at("name"), "wg0");
  EXPECT_EQ(all.at("tunnels").at(0).at("listen_port"), 51820);
  ASSERT_EQ(all.at("peers").size(), 3u);
  EXPECT_EQ(
      all.at("peers").at(0),
      json::parse(R"({"tunnel":"wg0","name":"alice","description":"","public_key":")" +
                  test_key_text(1) +
                  R"(","endpoint":"198.51.100.7:51820","last_handshake":"2026-01-01T00:00:00Z",
                        "rx_bytes":1000,"tx_bytes":2000000,"allowed_ips":["fd00:8::2/128","10.8.0.2/32"],
                        "persistent_keepalive":0,"preshared_key":false,"origin":"api","enabled":true})"));
  EXPECT_TRUE(all.at("peers").at(2).at("name").is_null());
  EXPECT_TRUE(all.at("peers").at(2).at("endpoint").is_null());
  EXPECT_TRUE(all.at("peers").at(2).at("last_handshake").is_null());
  EXPECT_EQ(all.at("ports"),
            json::parse(R"([{"name":"outside","up":true,"mac":"02:00:00:00:00:01","rx_packets":5,
                             "tx_packets":6,"missed":7,"no_mbuf":8}])"));
  EXPECT_EQ(all.at("workers"),
            json::parse(R"([{"lcore":1,"generation":2,"busy":0.25,"cycles_per_packet":812.5,
                             "numa_node":1,"idle":"waits-for-interrupts","interrupts":9},
                            {"lcore":2,"generation":2,"busy":0,"cycles_per_packet":0,
                             "numa_node":null,"idle":"polls","interrupts":0}])"));
  EXPECT_EQ(all.at("drops"), json::parse(R"({"no_allowed_ip":3})"));
}

TEST(HttpServer, ShowsOneSectionOneTunnelOnePeer) {
  LiveServer server;
  for (const std::string section : {"tunnels", "peers", "ports", "workers", "drops"}) {
    const json only =
        json::parse(body_of(exchange(server.path(), "GET", "/v1/show?section=" + section)));
    EXPECT_EQ(only.size(), 2u) << only;
    EXPECT_TRUE(only.contains(section));
  }
  EXPECT_EQ(status_of(exchange(server.path(), "GET", "/v1/show?section=x")), 400u);
  EXPECT_EQ(status_of(exchange(server.path(), "GET", "/v1/show?tunnel=wg9")), 404u);
  EXPECT_EQ(status_of(exchange(server.path(), "GET", "/v1/show?frobnicate=1")), 400u);
  const json bob =
      json::parse(body_of(exchange(server.path(), "GET", "/v1/peer?tunnel=wg0&peer=bob")));
  ASSERT_EQ(bob.at("peers").size(), 1u);
  EXPECT_EQ(bob.at("peers").at(0).at("name"), "bob");
  EXPECT_EQ(status_of(exchange(server.path(), "GET", "/v1/peer?tunnel=wg0&peer=eve")), 404u);
}

TEST(HttpServer, AnswersWhoOwnsAPrefixAndWhoGetsAnAddress) {
  LiveServer server;
  const auto owner = [&](const std::string& query) {
    return json::parse(body_of(exchange(server.path(), "GET", "/v1/owner?tunnel=wg0&" + query)));
  };
  EXPECT_EQ(owner("prefix=10.8.0.3%2F32"),
            json::parse(R"({"tunnel":"wg0","prefix":"10.8.0.3/32","peer":"bob"})"));
  EXPECT_EQ(owner("address=fd00:8::2"),
            json::parse(R"({"tunnel":"wg0","prefix":"fd00:8::2/128","peer":"alice"})"));
  EXPECT_EQ(owner("prefix=10.8.0.0/24"),
            json::parse(R"({"tunnel":"wg0","prefix":"10.8.0.0/24","peer":null})"));
  EXPECT_EQ(owner("address=10.8.0.9"),
            json::parse(R"({"tunnel":"wg0","prefix":"10.8.0.9/32","peer":null})"));
  EXPECT_NE(owner("prefix=10.8.0.3/24").at("detail").get<std::string>().find("10.8.0.0/24"),
            std::string::npos);
}

std::string claim(const std::string& peer, const std::string& prefix) {
  return R"({"edits":[{"op":"claim","tunnel":"wg0","peer":")" + peer + R"(","prefixes":[")" +
         prefix + "\"]}]}";
}

TEST(HttpServer, CommitsRefusesAndChecksGenerations) {
  LiveServer server;
  const auto post = [&](const std::string& body, const std::string& query = "",
                        const std::string& headers = "") {
    return exchange(server.path(), "POST", "/v1/transactions" + query, body, headers);
  };
  std::string answer = post(claim("bob", "10.9.0.0/16"));
  EXPECT_EQ(status_of(answer), 200u);
  EXPECT_EQ(
      json::parse(body_of(answer)),
      json::parse(
          R"({"committed":true,"changed":true,"visible":true,"generation":3,"warnings":[]})"));
  answer = post(claim("bob", "10.9.0.0/16"));
  EXPECT_FALSE(json::parse(body_of(answer)).at("changed").get<bool>());
  EXPECT_EQ(json::parse(body_of(answer)).at("generation"), 3);

  answer = post(claim("bob", "10.8.0.2/32"));
  EXPECT_EQ(status_of(answer), 409u);
  EXPECT_NE(answer.find("application/problem+json"), std::string::npos);
  const json refusal = json::parse(body_of(answer));
  EXPECT_FALSE(refusal.at("committed").get<bool>());
  ASSERT_EQ(refusal.at("conflicts").size(), 1u);
  const json& conflict = refusal.at("conflicts").at(0);
  EXPECT_EQ(conflict.at("edit"), 0);
  EXPECT_EQ(conflict.at("prefix"), "10.8.0.2/32");
  EXPECT_EQ(conflict.at("kind"), "owned_by_another");
  EXPECT_EQ(conflict.at("owner"), "alice");
  EXPECT_EQ(conflict.at("peer"), "bob");

  EXPECT_EQ(status_of(post(claim("bob", "10.7.0.0/16"), "", "If-Match: \"2\"\r\n")), 412u);
  EXPECT_EQ(status_of(post(claim("bob", "10.7.0.0/16"), "", "If-Match: x\r\n")), 400u);
  answer = post(claim("alice", "10.9.1.0/24"), "?dry_run=true", "If-Match: \"3\"\r\n");
  EXPECT_EQ(status_of(answer), 200u);
  EXPECT_FALSE(json::parse(body_of(answer)).at("committed").get<bool>());
  EXPECT_EQ(json::parse(body_of(answer)).at("warnings").at(0),
            "10.9.1.0/24 of alice lies inside 10.9.0.0/16 of bob");
  answer = post(claim("alice", "10.9.1.0/24"), "?comment=why%20not", "If-Match: \"3\"\r\n");
  EXPECT_EQ(json::parse(body_of(answer)).at("generation"), 4);
  EXPECT_EQ(server.backend.last_comment, "why not");
  EXPECT_EQ(server.backend.last_options.caller.pid, getpid());

  answer = post(claim("bob", "10.8.0.3/24"));
  EXPECT_EQ(status_of(answer), 400u);
  EXPECT_EQ(json::parse(body_of(answer)).at("mistakes").at(0).at("place"), "/edits/0/prefixes/0");
  EXPECT_EQ(status_of(post("edits: []", "", "Content-Type: application/yaml\r\n")), 200u);
  EXPECT_EQ(status_of(post("x", "", "Content-Type: image/png\r\n")), 415u);
}

TEST(HttpServer, TellsOfWorkersThatAreLateAndOfFailures) {
  LiveServer server;
  server.on_thread([&] { server.backend.late_lcores = {3}; });
  json answer = json::parse(
      body_of(exchange(server.path(), "POST", "/v1/transactions", claim("bob", "10.9.0.0/16"))));
  EXPECT_TRUE(answer.at("committed").get<bool>());
  EXPECT_FALSE(answer.at("visible").get<bool>());
  EXPECT_EQ(answer.at("late_workers"), json::parse("[3]"));
  server.on_thread([&] { server.backend.failure = "the disk is full"; });
  const std::string failed =
      exchange(server.path(), "POST", "/v1/transactions", claim("bob", "10.6.0.0/16"));
  EXPECT_EQ(status_of(failed), 500u);
  EXPECT_EQ(json::parse(body_of(failed)).at("detail"), "the disk is full");
}

TEST(HttpServer, SaysWhatIsWrongWithARequest) {
  LiveServer server;
  EXPECT_EQ(status_of(exchange(server.path(), "GET", "/v2/show")), 404u);
  const std::string wrong = exchange(server.path(), "GET", "/v1/transactions");
  EXPECT_EQ(status_of(wrong), 405u);
  EXPECT_NE(wrong.find("Allow: POST"), std::string::npos);
  EXPECT_EQ(status_of(exchange(server.path(), "GET", "/v1/show?%zz=1")), 400u);
  RawClient nonsense(server.path());
  nonsense.send("how do you do\r\n\r\n");
  EXPECT_EQ(status_of(nonsense.receive()), 400u);
  RawClient long_header(server.path());
  long_header.send("GET / HTTP/1.1\r\nX: " + std::string(100'000, 'x'));
  EXPECT_EQ(status_of(long_header.receive()), 400u);
}

TEST(HttpServer, RefusesADocumentOfAHundredMegabytesWithoutReadingIt) {
  LiveServer server;
  RawClient client(server.path());
  client.send("POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n{");
  EXPECT_EQ(status_of(client.receive()), 413u);
  // The same in chunks, whose sum nobody has announced.
  RawClient chunked(server.path());
  chunked.send("POST /v1/transactions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  const std::string chunk = "100000\r\n" + std::string(0x100000, ' ') + "\r\n";
  for (int i = 0; i < 100 && chunked.send(chunk); ++i) {
  }
  EXPECT_EQ(status_of(chunked.receive()), 413u);
  EXPECT_EQ(status_of(exchange(server.path(), "GET", "/v1/show")), 200u);
}

TEST(HttpServer, RefusesByTheHeaderAloneWhatNeedsNoBody) {
  LiveServer server;
  for (const auto& [target, status] : std::initializer_list<std::pair<const char*, unsigned>>{
           {"/v1/nothing", 404u}, {"/v1/show", 405u}, {"/v1/transactions?x=1", 400u}}) {
    RawClient client(server.path());
    client.send("POST " + std::string(target) +
                " HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{");  // and no more
    EXPECT_EQ(status_of(client.receive()), status) << target;
  }
}

TEST(HttpServer, WaitsWhileTheStateMayNotBeRead) {
  LiveServer server;
  server.on_thread([&] { server.backend.busy = true; });
  RawClient client(server.path());
  client.send(
      "GET /v1/owner?tunnel=wg0&address=10.8.0.3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  RawClient other(server.path());
  other.send("GET /v1/nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  server.on_thread([&] { server.backend.rest(); });
  EXPECT_EQ(status_of(client.receive()), 200u);
  EXPECT_EQ(status_of(other.receive()), 404u);
}

TEST(HttpServer, KeepsAConnectionForSeveralRequestsAlsoWhenTheyComeTogether) {
  LiveServer server;
  RawClient client(server.path());
  const std::string request =
      "GET /v1/owner?tunnel=wg0&address=10.8.0.3 HTTP/1.1\r\nHost: x\r\n\r\n";
  client.send(request + request);
  client.send("GET /v1/show?section=drops HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string all = client.receive();
  size_t answers = 0;
  for (size_t at = all.find("HTTP/1.1 200"); at != all.npos;
       at = all.find("HTTP/1.1 200", at + 1)) {
    ++answers;
  }
  EXPECT_EQ(answers, 3u) << all;
}

TEST(HttpServer, CutsOffHalfARequestAndAClientThatNeverReads) {
  using namespace std::chrono_literals;
  LiveServer server({.request = 200ms, .idle = 200ms, .write = 200ms});
  server.on_thread([&] {
    std::vector<state::Edit> edits;
    for (uint32_t i = 0; i < 5000; ++i) {
      state::Edit edit{.op = state::Op::PeerAdd, .tunnel = "wg0"};
      std::memcpy(edit.public_key.bytes.data() + 8, &i, sizeof(i));
      edit.public_key.bytes[0] = 77;
      edits.push_back(std::move(edit));
    }
    server.backend.apply(std::move(edits));
  });
  RawClient silent(server.path());
  RawClient half(server.path());
  half.send("POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{");
  RawClient deaf(server.path());
  deaf.send("GET /v1/show HTTP/1.1\r\nHost: x\r\n\r\n");
  // Meanwhile others are served, and get all.
  const std::string whole = body_of(exchange(server.path(), "GET", "/v1/show"));
  EXPECT_EQ(json::parse(whole).at("peers").size(), 5003u);
  EXPECT_EQ(silent.receive(), "");
  EXPECT_EQ(half.receive(), "");
  std::this_thread::sleep_for(1s);  // the deaf one reads at last: its answer was given up
  const std::string late = deaf.receive();
  EXPECT_NE(body_of(late).find("(cut off)"), std::string::npos) << late.size();
}

TEST(HttpServer, OutlivesAClientThatGoesAwayBeforeItsAnswer) {
  LiveServer server;
  server.on_thread([&] { server.backend.hold_answers = true; });
  {
    RawClient client(server.path());
    const std::string body = claim("bob", "10.9.0.0/16");
    client.send("POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: " +
                std::to_string(body.size()) + "\r\n\r\n" + body);
    for (int i = 0; i < 1000; ++i) {
      Generation generation = 0;
      server.on_thread([&] { generation = server.backend.state().generation(); });
      if (generation == 3) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  server.on_thread([&] { server.backend.release(); });
  EXPECT_EQ(json::parse(body_of(exchange(server.path(), "GET", "/v1/show"))).at("generation"), 3);
}

TEST(HttpServer, HundredClientsAtOnceNeverLoseAnUpdate) {
  LiveServer server;
  constexpr int kClients = 100;
  std::vector<std::thread> clients;
  std::atomic<int> committed = 0;
  for (int c = 0; c < kClients; ++c) {
    clients.emplace_back([&, c] {
      // Read, then write only if nobody else has: again until it works.
      for (;;) {
        const json seen = json::parse(
            body_of(exchange(server.path(), "GET", "/v1/owner?tunnel=wg0&address=10.200.0.1")));
        const json shown =
            json::parse(body_of(exchange(server.path(), "GET", "/v1/show?section=drops")));
        const std::string answer =
            exchange(server.path(), "POST", "/v1/transactions",
                     claim("bob", "10.100." + std::to_string(c) + ".0/24"),
                     "If-Match: \"" + shown.at("generation").dump() + "\"\r\n");
        if (status_of(answer) == 200) {
          ++committed;
          return;
        }
        if (status_of(answer) != 412) return;
      }
    });
  }
  for (auto& client : clients) client.join();
  EXPECT_EQ(committed, kClients);
  server.on_thread([&] {
    EXPECT_EQ(server.backend.state().generation(), 2u + kClients);
    EXPECT_EQ(server.backend.state().prefix_count(), 3u + kClients);
  });
}

TEST(UnixListener, ReplacesADeadSocketAndLeavesALivingOneAlone) {
  LiveServer server;
  struct stat before{};
  ASSERT_EQ(::stat(server.path().c_str(), &before), 0);
  EXPECT_EQ(before.st_mode & 07777, 0600u);
  boost::asio::io_context io;
  const auto second = UnixListener::open(io, server.path(), {});
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().find("another process is listening"), std::string::npos);
  EXPECT_EQ(status_of(exchange(server.path(), "GET", "/v1/show")), 200u);

  // A socket file whose process has died.
  const std::string dead = server.directory() + "/dead.sock";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, dead.c_str(), dead.size() + 1);
  const int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(::bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  ::close(socket);
  {
    const auto replaced = UnixListener::open(io, dead, {.group = getegid()});
    ASSERT_TRUE(replaced) << replaced.error();
    struct stat made{};
    ASSERT_EQ(::stat(dead.c_str(), &made), 0);
    EXPECT_EQ(made.st_mode & 07777, 0660u);
  }
  EXPECT_NE(::access(dead.c_str(), F_OK), 0);  // taken away at the end

  const std::string file = server.directory() + "/file";
  std::ofstream(file) << "keep me";
  const auto over_file = UnixListener::open(io, file, {});
  ASSERT_FALSE(over_file);
  EXPECT_NE(over_file.error().find("no socket"), std::string::npos);
  EXPECT_EQ(::access(file.c_str(), F_OK), 0);
  EXPECT_FALSE(UnixListener::open(io, std::string(200, 'x'), {}));
  EXPECT_FALSE(UnixListener::open(io, "/nonexistent/x.sock", {}));
}

// An export of 5,000 peers, taken at 64 KiB every 50 ms: more than a second, and never idle.
std::string take_slowly(const std::string& path) {
  RawClient client(path);
  client.send("GET /v1/export HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  std::string all;
  while (true) {
    const std::string piece = client.receive_some();
    if (piece.empty()) return all;
    all += piece;
    usleep(50'000);
  }
}

TEST(HttpServer, AReaderWhoTakesAnExportTooSlowlyIsCutOffAndTheOwnerIsNot) {
  LiveServer server({.bounded = std::chrono::milliseconds(200)}, {.group = getegid()});
  server.on_thread([&] {
    std::vector<state::Edit> edits;
    for (uint32_t i = 0; i < 5'000; ++i) {
      PublicKey key = test_key(9);
      key.bytes[0] = static_cast<uint8_t>(i);
      key.bytes[1] = static_cast<uint8_t>(i >> 8);
      edits.push_back({.op = state::Op::PeerAdd,
                       .tunnel = "wg0",
                       .public_key = key,
                       .patch = state::PeerPatch{.description = std::string(250, 'd')}});
    }
    server.backend.apply(std::move(edits));
  });
  const auto complete = [](const std::string& answer) { return answer.ends_with("\r\n0\r\n\r\n"); };
  EXPECT_TRUE(complete(take_slowly(server.path())));
  if (geteuid() != 0) GTEST_SKIP() << "only root can be another user";
  ASSERT_EQ(::chmod(server.directory().c_str(), 0755), 0);
  std::string answer;
  std::thread([&] {
    // Of this thread alone, unlike seteuid().
    ASSERT_EQ(::syscall(SYS_setresuid, -1, 12'345, -1), 0);
    answer = take_slowly(server.path());
  }).join();
  EXPECT_EQ(status_of(answer), 200u) << answer;
  EXPECT_FALSE(complete(answer));
}

}  // namespace
}  // namespace turnpike::api
