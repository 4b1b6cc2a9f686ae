#include "control/api/metrics.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "control/api/metrics_server.h"
#include "tests/unit/api/live_server.h"

namespace turnpike::api {
namespace {

// The text format, version 0.0.4, as strictly as it is written down.
class Parsed {
 public:
  explicit Parsed(const std::string& text) {
    EXPECT_TRUE(text.ends_with('\n'));
    static const std::regex help(R"(# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+))");
    static const std::regex type(R"(# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge))");
    static const std::regex sample(
        R"(([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"(?:,[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*")*\})? (\S+))");
    std::istringstream lines(text);
    std::string current, helped;
    for (std::string line; std::getline(lines, line);) {
      std::smatch match;
      if (std::regex_match(line, match, help)) {
        helped = match[1];
        EXPECT_TRUE(families.insert(helped).second) << helped << " stands twice";
      } else if (std::regex_match(line, match, type)) {
        current = match[1];
        EXPECT_EQ(current, helped);
        EXPECT_EQ(match[2] == "counter", current.ends_with("_total")) << current;
      } else if (std::regex_match(line, match, sample)) {
        EXPECT_EQ(match[1], current) << "a sample outside of its family";
        char* end = nullptr;
        const std::string number = match[3];
        const double value = std::strtod(number.c_str(), &end);
        EXPECT_EQ(*end, '\0') << line;
        EXPECT_TRUE(samples.emplace(match[1].str() + match[2].str(), value).second) << line;
      } else {
        ADD_FAILURE() << "not of the format: " << line;
      }
    }
  }
  std::set<std::string> families;
  std::map<std::string, double> samples;
};

std::string text_of(const Backend& backend) {
  const auto source = make_metrics(backend);
  std::string text;
  while (source->next(text)) {
  }
  return text;
}

std::string scrape(uint16_t port, const std::string& request) {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {}, .sin_zero = {}};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(socket, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
  EXPECT_GT(::send(socket, request.data(), request.size(), 0), 0);
  std::string all;
  char piece[4096];
  for (ssize_t got; (got = ::recv(socket, piece, sizeof(piece), 0)) > 0;) {
    all.append(piece, static_cast<size_t>(got));
  }
  ::close(socket);
  return all;
}

TEST(Metrics, AreOfTheFormatAndSayWhatTheBackendCounts) {
  FakeBackend backend;
  add_three_peers(backend);
  const Parsed parsed(text_of(backend));
  const auto value = [&](const char* name) {
    const auto found = parsed.samples.find(name);
    EXPECT_NE(found, parsed.samples.end()) << name;
    return found == parsed.samples.end() ? -1 : found->second;
  };
  EXPECT_EQ(value("turnpike_generation"), static_cast<double>(backend.generation()));
  EXPECT_EQ(value("turnpike_peers"), 3);
  EXPECT_EQ(value("turnpike_table_bytes{numa_node=\"1\"}"), 4'096);
  EXPECT_EQ(value("turnpike_table_bytes{numa_node=\"any\"}"), 8'192);
  EXPECT_EQ(value("turnpike_crypto_sessions"), 6);
  EXPECT_EQ(value("turnpike_buffers"), 512);
  EXPECT_EQ(value("turnpike_buffers_in_use"), 17);
  EXPECT_EQ(value("turnpike_commits_total"), 7);
  EXPECT_EQ(value("turnpike_dropped_packets_total{reason=\"no_allowed_ip\"}"), 3);
  EXPECT_EQ(value("turnpike_tunnel_packets_total{tunnel=\"wg0\",direction=\"outbound\"}"), 11);
  EXPECT_EQ(value("turnpike_tunnel_bytes_total{tunnel=\"wg0\",direction=\"inbound\"}"), 12);
  EXPECT_EQ(value("turnpike_queue_entries{queue=\"inject\",lcore=\"1\"}"), 4);
  EXPECT_EQ(value("turnpike_session_thread_cpu_seconds_total{thread=\"session-1\",cpu=\"3\"}"),
            1.5);
  EXPECT_EQ(value("turnpike_reloads_total{outcome=\"applied\"}"), 0);
  EXPECT_EQ(value("turnpike_last_reload_success"), 1);
  EXPECT_EQ(value("turnpike_build_info{version=\"1.2.3\"}"), 1);
}

TEST(Metrics, DoNotGrowWithThePeers) {
  FakeBackend backend;
  const size_t before = Parsed(text_of(backend)).samples.size();
  add_three_peers(backend);
  EXPECT_EQ(Parsed(text_of(backend)).samples.size(), before);
}

TEST(MetricsServer, AnswersGetMetricsAndNothingElse) {
  LiveServer server;
  std::unique_ptr<MetricsServer> metrics;
  server.on_thread([&] {
    auto started = MetricsServer::start(server.io(), server.backend, {*parse_ip("127.0.0.1"), 0});
    ASSERT_TRUE(started) << started.error();
    metrics = std::move(*started);
  });
  ASSERT_NE(metrics, nullptr);
  const uint16_t port = metrics->port();
  const std::string answer = scrape(port, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_NE(answer.find("200 OK"), std::string::npos);
  EXPECT_NE(answer.find("text/plain; version=0.0.4"), std::string::npos);
  EXPECT_GT(Parsed(answer.substr(answer.find("\r\n\r\n") + 4)).families.size(), 15u);
  EXPECT_NE(scrape(port, "GET /v1/show HTTP/1.1\r\nHost: x\r\n\r\n").find("404"),
            std::string::npos);
  EXPECT_NE(
      scrape(port, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").find("405"),
      std::string::npos);
  EXPECT_EQ(scrape(port, "GET /" + std::string(8'000, 'x') + " HTTP/1.1\r\n\r\n").find("200"),
            std::string::npos);
  std::string error;
  server.on_thread([&] {
    const auto twice =
        MetricsServer::start(server.io(), server.backend, {*parse_ip("127.0.0.1"), port});
    ASSERT_FALSE(twice);
    error = twice.error();
  });
  EXPECT_NE(error.find("name another address"), std::string::npos) << error;
  server.on_thread([&] { metrics.reset(); });
}

}  // namespace
}  // namespace turnpike::api
