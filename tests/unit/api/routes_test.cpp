#include "control/api/routes.h"

#include <gtest/gtest.h>

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

TEST_F(RoutesTest, ReadLongDocumentsOnAnotherThread) {
  EXPECT_EQ(status("POST", "/v1/transactions", Access::All, R"({"edits":[]})"), 200u);
  EXPECT_EQ(offloaded_, 0);
  EXPECT_EQ(status("POST", "/v1/transactions", Access::All,
                   R"({"edits":[]})" + std::string(100'000, ' ')),
            200u);
  EXPECT_EQ(offloaded_, 1);
}

}  // namespace
}  // namespace turnpike::api
