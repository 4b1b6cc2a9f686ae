#include "control/api/routes.h"

#include <gtest/gtest.h>

#include "dataplane/base/text.h"
#include "tests/unit/api/fake_backend.h"

namespace turnpike::api {
namespace {

class RoutesTest : public testing::Test {
 protected:
  unsigned status(const std::string& method, const std::string& path, Access access,
                  const std::string& body = "") {
    unsigned got = 0;
    routes_.handle({.method = method, .path = path, .body = body, .access = access},
                   [&](const Response& response) { got = response.status; });
    return got;
  }

  FakeBackend backend_;
  int offloaded_ = 0;
  Routes routes_{backend_, [this](const auto& work, const auto& done) {
                   ++offloaded_;
                   work();
                   done();
                 }};
};

TEST_F(RoutesTest, AskForTheRightsThatTheyNeed) {
  const std::string nothing = R"({"edits":[]})";
  EXPECT_EQ(status("GET", "/v1/show", Access::None), 403u);
  EXPECT_EQ(status("GET", "/v1/show", Access::Read), 200u);
  EXPECT_EQ(status("POST", "/v1/transactions", Access::None, nothing), 403u);
  EXPECT_EQ(status("POST", "/v1/transactions", Access::Read, nothing), 403u);
  EXPECT_EQ(status("POST", "/v1/transactions", Access::All, nothing), 200u);
  EXPECT_EQ(status("DELETE", "/v1/show", Access::All), 405u);
  // The header is enough to know.
  const auto early =
      Routes::refuse({.method = "POST", .path = "/v1/transactions", .access = Access::Read});
  ASSERT_TRUE(early);
  EXPECT_EQ(early->status, 403u);
}

TEST_F(RoutesTest, ShowGenerationsThatAreDurable) {
  add_three_peers(backend_);
  ASSERT_GT(backend_.state().generation(), 1u);
  backend_.durable = 1;  // while the last commit is on its way to the disk
  for (const auto& [path, query] :
       {std::pair("/v1/show", std::map<std::string, std::string>{}),
        std::pair("/v1/peer",
                  std::map<std::string, std::string>{{"tunnel", "wg0"}, {"peer", "bob"}}),
        std::pair("/v1/owner", std::map<std::string, std::string>{{"tunnel", "wg0"},
                                                                  {"address", "10.8.0.2"}})}) {
    std::optional<Generation> etag;
    std::string body;
    routes_.handle({.method = "GET", .path = path, .query = query, .access = Access::Read},
                   [&](const Response& response) {
                     etag = response.generation;
                     body = response.body;
                     if (response.source) (void)response.source->next(body);
                   });
    EXPECT_EQ(etag, Generation{1}) << path;
    const size_t at = body.find("\"generation\":");  // one of them has it as the ETag only
    EXPECT_TRUE(at == std::string::npos || body.substr(at).starts_with("\"generation\":1,"))
        << body;
  }
}

TEST_F(RoutesTest, RefuseCommentsThatAreNoPlainText) {
  add_three_peers(backend_);
  const Generation before = backend_.state().generation();
  const auto ask = [this](const char* path, const std::string& comment) {
    std::string said;
    std::map<std::string, std::string> query{{"comment", comment}};
    if (std::string_view(path) == "/v1/rollback") query.emplace("generation", "1");
    routes_.handle({.method = "POST",
                    .path = path,
                    .query = std::move(query),
                    .content_type = "application/json",
                    .body = R"({"edits":[]})",
                    .access = Access::All},
                   [&](const Response& response) {
                     said = std::to_string(response.status) + " " + response.body;
                   });
    return said;
  };
  for (const char* path : {"/v1/transactions", "/v1/reload", "/v1/rollback"}) {
    for (const char* bad : {"a\rb", "a\x1b[2Jb",
                            "a\xc2\x9b"
                            "2Jb"}) {
      const std::string said = ask(path, bad);
      EXPECT_TRUE(said.starts_with("400 ")) << said;
      EXPECT_NE(said.find("comment has a control character in it"), std::string::npos) << said;
    }
    EXPECT_NE(ask(path, "a\nb").find("comment has several lines; one line"), std::string::npos);
    EXPECT_NE(ask(path, "\xff").find("comment is no UTF-8"), std::string::npos);
    EXPECT_NE(ask(path, std::string(1'001, 'x')).find("comment is 1001 bytes"), std::string::npos);
  }
  EXPECT_EQ(backend_.state().generation(), before);
}

TEST_F(RoutesTest, ReadLongDocumentsOnAnotherThread) {
  EXPECT_EQ(status("POST", "/v1/transactions", Access::All, R"({"edits":[]})"), 200u);
  EXPECT_EQ(offloaded_, 0);
  EXPECT_EQ(status("POST", "/v1/transactions", Access::All,
                   R"({"edits":[]})" + std::string(100'000, ' ')),
            200u);
  EXPECT_EQ(offloaded_, 1);
}

TEST_F(RoutesTest, ExportWithKeysForOwnersAndWithoutForReaders) {
  add_three_peers(backend_);
  PresharedKey preshared;
  preshared.bytes()[0] = 77;
  backend_.apply({{.op = state::Op::PeerSet,
                   .tunnel = "wg0",
                   .peer = test_key(1),
                   .patch = state::PeerPatch{.preshared_key = preshared}}});
  const auto text = [&](const std::string& method, std::map<std::string, std::string> query = {}) {
    std::string body;
    routes_.handle({.method = method, .path = "/v1/export", .query = std::move(query)},
                   [&](const Response& response) {
                     EXPECT_EQ(response.status, 200u);
                     EXPECT_EQ(response.generation, backend_.state().generation());
                     for (bool more = true; more;) more = response.source->next(body);
                   });
    return body;
  };
  const auto status_of_directory = [&](const char* directory) {
    unsigned status = 0;
    routes_.handle({.method = "POST", .path = "/v1/export", .query = {{"directory", directory}}},
                   [&](const Response& response) { status = response.status; });
    return status;
  };
  const std::string private_key =
      base::key_to_base64(backend_.state().tunnel(0).private_key.bytes());
  const std::string preshared_key = base::key_to_base64(preshared.bytes());

  const std::string without = text("GET");
  EXPECT_FALSE(backend_.last_export->with_keys);
  EXPECT_EQ(without.find(private_key), std::string::npos);
  EXPECT_EQ(without.find(preshared_key), std::string::npos);
  EXPECT_NE(without.find("private_key_file: wg0.key  # stands in no file yet"), std::string::npos)
      << without;
  EXPECT_NE(without.find("# note: 2 keys were given inline or at run time and stand in no file, "
                         "tunnel wg0, peer alice; --secrets DIR writes all keys\n"),
            std::string::npos)
      << without;

  const std::string with = text("POST", {{"directory", "/etc/new keys"}});
  EXPECT_TRUE(backend_.last_export->with_keys);
  // By the whole key: keys that begin alike are easily made.
  const std::string alice = "wg0-" + base::to_hex(test_key(1).bytes) + ".psk";
  EXPECT_TRUE(with.starts_with("wg0.key " + private_key + "\n" + alice + " " + preshared_key +
                               "\n\n# What turnpiked ran at generation 3"))
      << with;
  const size_t yaml = with.find("\n\n");
  EXPECT_EQ(with.find(private_key, yaml), std::string::npos);
  EXPECT_EQ(with.find(preshared_key, yaml), std::string::npos);
  EXPECT_NE(with.find("preshared_key_file: \"/etc/new keys/" + alice + "\"\n"), std::string::npos);
  EXPECT_EQ(with.find("note:"), std::string::npos);

  EXPECT_EQ(status("GET", "/v1/export", Access::None), 403u);
  EXPECT_EQ(status("GET", "/v1/export", Access::Read), 200u);
  EXPECT_EQ(backend_.last_export->access, Access::Read);
  EXPECT_EQ(status("POST", "/v1/export", Access::Read), 403u);
  EXPECT_EQ(status("POST", "/v1/export", Access::All), 400u);  // no directory
  EXPECT_EQ(status_of_directory("keys"), 200u);
  // The YAML would not load.
  EXPECT_EQ(status_of_directory("ke\xffys"), 400u);
  EXPECT_EQ(status_of_directory("ke\nys"), 400u);
  const auto refused =
      Routes::refuse({.method = "POST", .path = "/v1/export", .access = Access::Read});
  EXPECT_NE(refused->body.find("only root and the daemon's owner may have the keys"),
            std::string::npos);
  backend_.busy_exports = "others are being written";
  EXPECT_EQ(status("GET", "/v1/export", Access::Read), 503u);
}

}  // namespace
}  // namespace turnpike::api
