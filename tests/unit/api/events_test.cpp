#include "control/api/events.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/unit/api/live_server.h"

namespace turnpike::api {
namespace {

std::string line_of(const std::string& text) {
  return EventLine("committed", WallTime{1'767'225'600'000'000'000}).text("comment", text).take();
}

std::string taken(BodySource& source) {
  std::string out;
  (void)source.next(out);
  return out;
}

TEST(EventLine, IsJsonOnOneLineWhateverTheTextIs) {
  const std::string line = line_of("two\nlines and a \" quote");
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  const auto tree = nlohmann::json::parse(line);
  EXPECT_EQ(tree.at("event"), "committed");
  EXPECT_EQ(tree.at("time"), "2026-01-01T00:00:00Z");
  EXPECT_EQ(tree.at("comment"), "two\nlines and a \" quote");
}

TEST(EventLine, HoldsNoControlCharacterAsItIs) {
  const std::string line = line_of("\x1b\x7f\xc2\x80\xc2\x9b\xc2\xa0\xc3\x9b");
  EXPECT_NE(line.find("\\u001b\\u007f\\u0080\\u009b\xc2\xa0\xc3\x9b"), std::string::npos) << line;
  EXPECT_EQ(nlohmann::json::parse(line).at("comment"), "\x1b\x7f\xc2\x80\xc2\x9b\xc2\xa0\xc3\x9b");
}

TEST(EventHub, EveryReaderGetsEveryLineFromWhenItListensOn) {
  EventHub hub;
  EXPECT_FALSE(hub.heard());
  hub.publish("early\n");
  const auto one = hub.listen();
  hub.publish("a\n");
  const auto two = hub.listen();
  hub.publish("b\n");
  EXPECT_TRUE(hub.heard());
  EXPECT_EQ(taken(*one), "a\nb\n");
  EXPECT_EQ(taken(*two), "b\n");
}

TEST(EventHub, WakesAReaderThatWaitsOnce) {
  EventHub hub;
  const auto reader = hub.listen();
  int woken = 0;
  EXPECT_TRUE(reader->wait([&] { ++woken; }));
  hub.publish("a\n");
  hub.publish("b\n");
  EXPECT_EQ(woken, 1);
  EXPECT_FALSE(reader->wait([&] { ++woken; }));  // there is something
}

TEST(EventHub, ASlowReaderGetsWhatIsThereANoticeAndTheEnd) {
  EventHub hub;
  const auto slow = hub.listen(), quick = hub.listen();
  const std::string line(1'000, 'x');
  for (size_t i = 0; i < kMaxPendingBytes / 1'000 + 10; ++i) {
    hub.publish(line + "\n");
    EXPECT_EQ(taken(*quick), line + "\n");
  }
  EXPECT_EQ(hub.cut_off(), 1u);
  std::string got;
  EXPECT_FALSE(slow->wait([] {}));
  EXPECT_FALSE(slow->next(got));  // the last slice
  EXPECT_LE(got.size(), kMaxPendingBytes + 500);
  EXPECT_EQ(nlohmann::json::parse(got.substr(got.rfind("\n{") + 1)).at("event"), "cut_off");
}

TEST(EventHub, HasABoundOfReadersAndForgetsThoseThatWent) {
  EventHub hub;
  std::vector<std::unique_ptr<BodySource>> readers;
  for (size_t i = 0; i < kMaxListeners; ++i) readers.push_back(hub.listen());
  EXPECT_EQ(hub.listen(), nullptr);
  readers.pop_back();
  EXPECT_NE(hub.listen(), nullptr);
}

TEST(EventHub, KeepsPlacesForThoseWhoMayDoMoreThanLook) {
  EventHub hub;
  std::vector<std::unique_ptr<BodySource>> readers;
  for (size_t i = 0; i < kMaxListenersOfReaders; ++i) readers.push_back(hub.listen(Access::Read));
  EXPECT_EQ(hub.listen(Access::Read), nullptr);
  const auto owner = hub.listen(Access::All);
  EXPECT_NE(owner, nullptr);
  readers.pop_back();
  EXPECT_NE(hub.listen(Access::Read), nullptr);
}

TEST(EventHub, EndsItsReadersWithItself) {
  auto hub = std::make_unique<EventHub>();
  const auto reader = hub->listen();
  int woken = 0;
  EXPECT_TRUE(reader->wait([&] { ++woken; }));
  hub.reset();
  EXPECT_EQ(woken, 1);
  std::string out;
  EXPECT_FALSE(reader->next(out));
}

TEST(EventStream, ComesOverHttpAsItHappensAndEndsWithItsReader) {
  LiveServer server;
  const auto heard = [&] {
    bool is = false;
    server.on_thread([&] { is = server.backend.hub.heard(); });
    return is;
  };
  {
    RawClient client(server.path());
    client.send("GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_NE(client.receive("\r\n\r\n").find("200"), std::string::npos);
    server.on_thread([&] { server.backend.hub.publish("{\"event\":\"one\"}\n"); });
    EXPECT_NE(client.receive("one\"}\n\r\n").find("{\"event\":\"one\"}\n"), std::string::npos);
    server.on_thread([&] { server.backend.hub.publish("{\"event\":\"two\"}\n"); });
    EXPECT_NE(client.receive("two\"}\n\r\n").find("{\"event\":\"two\"}\n"), std::string::npos);
    EXPECT_TRUE(heard());
  }
  for (int i = 0; i < 500 && heard(); ++i) usleep(10'000);
  EXPECT_FALSE(heard()) << "a reader that went is still listened for";
}

// Publishes until a reader that stands still is cut off.
void overflow(LiveServer& server) {
  const std::string line = "{\"event\":\"one\",\"text\":\"" + std::string(1'000, 'x') + "\"}\n";
  for (uint64_t cut_off = 0; cut_off == 0;) {
    server.on_thread([&] {
      server.backend.hub.publish(line);
      cut_off = server.backend.hub.cut_off();
    });
  }
}

TEST(EventStream, WhoStandsStillForLongerThanAnyAnswerMayTakeStillFindsTheNotice) {
  LiveServer server({.write = std::chrono::milliseconds(100)});
  RawClient client(server.path());
  client.send("GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_NE(client.receive("\r\n\r\n").find("200"), std::string::npos);
  overflow(server);
  usleep(500'000);
  const std::string got = client.receive();
  EXPECT_NE(got.find("{\"event\":\"cut_off\""), std::string::npos);
  EXPECT_TRUE(got.ends_with("\r\n0\r\n\r\n")) << got.substr(got.size() - 200);
}

TEST(EventStream, WhoStandsStillForGoodLosesItsPlace) {
  LiveServer server({.events = std::chrono::milliseconds(200)});
  RawClient client(server.path());
  client.send("GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_NE(client.receive("\r\n\r\n").find("200"), std::string::npos);
  overflow(server);
  bool heard = true;
  for (int i = 0; i < 500 && heard; ++i) {
    usleep(10'000);
    server.on_thread([&] { heard = server.backend.hub.heard(); });
  }
  EXPECT_FALSE(heard);
}

}  // namespace
}  // namespace turnpike::api
