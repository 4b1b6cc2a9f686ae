#include "control/api/transaction_document.h"

#include <gtest/gtest.h>

#include "tests/unit/api/fake_backend.h"

namespace turnpike::api {
namespace {

using state::Op;

std::string mistakes(std::string_view text, DocumentFormat format = DocumentFormat::Json) {
  const auto parsed = parse_transaction(text, format);
  if (parsed) return "good";
  std::string all;
  for (const Mistake& m : parsed.error()) all += m.place + ": " + m.what + "\n";
  return all;
}

std::string in_edit(const std::string& rest) { return R"({"edits":[{)" + rest + "}]}"; }

TEST(TransactionDocument, ReadsEveryOperation) {
  const std::string key = test_key_text(9);
  const auto parsed = parse_transaction(
      R"({"if_generation": 12, "comment": "hand-over", "edits": [
        {"op": "claim", "tunnel": "wg0", "peer": "alice", "prefixes": ["10.8.0.2/32", "fd00::/64"]},
        {"op": "release", "tunnel": "wg0", "peer": ")" +
          key + R"(", "prefixes": ["10.8.0.4"]},
        {"op": "replace", "tunnel": "wg0", "peer": "bob", "prefixes": []},
        {"op": "move", "tunnel": "wg0", "from": "alice", "to": "bob", "prefixes": ["0.0.0.0/0"]},
        {"op": "peer_add", "tunnel": "wg0", "peer": "carol", "public_key": ")" +
          key + R"(",
         "endpoint": "[2001:db8::1]:7", "persistent_keepalive": 25, "enabled": false,
         "description": "d", "preshared_key": ")" +
          key + R"(", "prefixes": ["10.9.0.0/16"]},
        {"op": "peer_set", "tunnel": "wg0", "peer": "carol", "name": null, "endpoint": null,
         "preshared_key": null},
        {"op": "peer_remove", "tunnel": "wg0", "peer": "carol"}]})",
      DocumentFormat::Json);
  ASSERT_TRUE(parsed) << parsed.error()[0].place << parsed.error()[0].what;
  EXPECT_EQ(parsed->if_generation, 12u);
  EXPECT_EQ(parsed->comment, "hand-over");
  const auto& edits = parsed->edits;
  ASSERT_EQ(edits.size(), 7u);
  EXPECT_EQ(edits[0].op, Op::Claim);
  EXPECT_EQ(std::get<std::string>(edits[0].peer), "alice");
  EXPECT_EQ(to_string(edits[0].prefixes.at(1)), "fd00::/64");
  EXPECT_EQ(std::get<PublicKey>(edits[1].peer), test_key(9));
  EXPECT_EQ(to_string(edits[1].prefixes.at(0)), "10.8.0.4/32");
  EXPECT_EQ(edits[2].op, Op::Replace);
  EXPECT_EQ(std::get<std::string>(edits[3].to), "bob");
  EXPECT_EQ(edits[4].public_key, test_key(9));
  EXPECT_EQ(edits[4].patch->name, "carol");
  EXPECT_EQ(to_string(*edits[4].patch->endpoint), "[2001:db8::1]:7");
  EXPECT_EQ(edits[4].patch->persistent_keepalive, 25);
  EXPECT_EQ(edits[4].patch->enabled, false);
  EXPECT_EQ(edits[4].patch->preshared_key->bytes()[31], 9);
  EXPECT_EQ(edits[5].patch->name, "");
  EXPECT_TRUE(edits[5].patch->endpoint->is_none());
  EXPECT_TRUE(edits[5].patch->preshared_key->is_zero());
  EXPECT_FALSE(edits[5].patch->enabled);
  EXPECT_EQ(edits[6].op, Op::PeerRemove);
}

TEST(TransactionDocument, ReadsYamlToTheSameValue) {
  const auto parsed = parse_transaction(
      "# a hand-over\nif_generation: 3\ncomment: \"5\"\nedits:\n"
      "  - op: move\n    tunnel: wg0\n    from: alice\n    to: 'bob'\n"
      "    prefixes: [10.8.0.2/32, \"fd00::1\"]\n"
      "  - {op: peer_set, tunnel: wg0, peer: bob, enabled: true, persistent_keepalive: 0}\n",
      DocumentFormat::Yaml);
  ASSERT_TRUE(parsed) << parsed.error()[0].place << parsed.error()[0].what;
  EXPECT_EQ(parsed->if_generation, 3u);
  EXPECT_EQ(parsed->comment, "5");
  ASSERT_EQ(parsed->edits.size(), 2u);
  EXPECT_EQ(parsed->edits[0].prefixes.size(), 2u);
  EXPECT_EQ(parsed->edits[1].patch->enabled, true);
}

TEST(TransactionDocument, NamesThePlaceOfEveryMistake) {
  EXPECT_EQ(
      mistakes(R"({"edits":[
      {"op":"claim","tunnel":"wg0","peer":"a","prefixes":["10.0.0.1/24","x",5]},
      {"op":"claim","tunnel":7,"prefixes":"10.0.0.0/8"},
      {"op":"steal"}, 5, {"tunnel":"wg0"},
      {"op":"peer_set","tunnel":"wg0","peer":"a","enabled":1,"persistent_keepalive":65536,"endpoint":"host:1","preshared_key":"AA"}],
      "if_generation":-1})"),
      "/if_generation: must be a generation, a whole number\n"
      "/edits/0/prefixes/0: 10.0.0.1/24 has host bits set; did you mean 10.0.0.0/24?\n"
      "/edits/0/prefixes/1: must be a prefix such as 10.8.0.2/32 or fd00:8::/64\n"
      "/edits/0/prefixes/2: must be a prefix such as 10.8.0.2/32 or fd00:8::/64\n"
      "/edits/1/tunnel: must be text\n"
      "/edits/1: \"peer\" is missing\n"
      "/edits/1/prefixes: must be a list of prefixes\n"
      "/edits/2/op: \"op\" must be one of claim, release, replace, move, peer_add, peer_set, "
      "peer_remove\n"
      "/edits/3: an edit must be an object\n"
      "/edits/4: \"op\" must be one of claim, release, replace, move, peer_add, peer_set, "
      "peer_remove\n"
      "/edits/5/preshared_key: must be a key: 32 bytes as 44 characters of base64\n"
      "/edits/5/endpoint: must be ADDRESS:PORT or [ADDRESS]:PORT with an IP address, or null\n"
      "/edits/5/persistent_keepalive: must be seconds from 0 (off) to 65535\n"
      "/edits/5/enabled: must be true or false\n");
}

TEST(TransactionDocument, RefusesUnknownAndDuplicateKeys) {
  EXPECT_EQ(mistakes(R"({"edits":[],"edit":[]})"),
            "/edit: there is no such key here; there are: if_generation, comment, edits\n");
  EXPECT_EQ(mistakes(in_edit(R"("op":"peer_remove","tunnel":"t","peer":"p","prefixes":[])")),
            "/edits/0/prefixes: there is no such key here; there are: op, tunnel, peer\n");
  EXPECT_EQ(mistakes(R"({"edits":[],"edits":[]})"),
            "/edits: the key \"edits\" stands here twice\n");
  EXPECT_EQ(mistakes(R"({"comment":"","edits":[{"op":"claim"},{"op":"move","op":"claim"}]})"),
            "/edits/1/op: the key \"op\" stands here twice\n");
  EXPECT_EQ(mistakes("edits: []\nedits: []\n", DocumentFormat::Yaml),
            "line 2, column 1: the key \"edits\" stands here twice\n");
}

TEST(TransactionDocument, WantsAPeerToAddByNameAndKeyThatAgree) {
  const std::string key = test_key_text(9);
  const std::string other = test_key_text(8);
  const auto add = [](const std::string& rest) {
    return mistakes(in_edit(R"("op":"peer_add","tunnel":"t",)" + rest));
  };
  EXPECT_EQ(add(R"("peer":")" + key + "\""), "good");
  EXPECT_EQ(add(R"("public_key":")" + key + "\""), "good");
  EXPECT_EQ(add(R"("peer":")" + key + R"(","name":"n")"), "good");
  EXPECT_EQ(add(R"("peer":"n")"), "/edits/0: \"public_key\" is missing\n");
  EXPECT_EQ(add(R"("peer":")" + key + R"(","public_key":")" + other + "\""),
            "/edits/0/public_key: is another key than that in \"peer\"\n");
  EXPECT_EQ(add(R"("peer":"n","name":"m","public_key":")" + key + "\""),
            "/edits/0/name: is another name than that in \"peer\"\n");
  EXPECT_NE(add(R"("peer":"n","public_key":"AAAA")").find("44 characters"), std::string::npos);
}

// The same as for a file (config/value.h): what runs can be exported.
TEST(TransactionDocument, TakesNamesAndDescriptionsThatAFileMayHold) {
  const std::string key = test_key_text(9);
  const auto with = [&](const char* what, const std::string& value) {
    return mistakes(in_edit(R"("op":"peer_add","tunnel":"t","public_key":")" + key + R"(",")" +
                            what + R"(":")" + value + "\""));
  };
  for (const char* what : {"name", "peer"}) {
    for (const std::string& good :
         {std::string("a b"), std::string("caf\xc3\xa9"), std::string(128, 'x')}) {
      EXPECT_EQ(with(what, good), "good");
    }
    const std::string place = std::string("/edits/0/") + what + ": ";
    for (const auto& [bad, why] :
         {std::pair("-x", "begins with -"), std::pair(" x", "with a blank"),
          std::pair("x ", "with a blank"), std::pair(R"(a\u001bb)", "control character"),
          std::pair(R"(a\nb)", "control character")}) {
      const std::string said = with(what, bad);
      EXPECT_TRUE(said.starts_with(place)) << said;
      EXPECT_NE(said.find(why), std::string::npos) << said;
    }
    EXPECT_TRUE(with(what, std::string(129, 'x')).starts_with(place));
  }
  EXPECT_NE(with("name", key.substr(0, 42) + "B=").find("shaped like a key"), std::string::npos);
  EXPECT_EQ(with("name", ""), "good");  // it has none
  for (const std::string& good : {std::string(), std::string(R"(two\nlines,\ta tab)"),
                                  std::string("caf\xc3\xa9"), std::string(4'096, 'x')}) {
    EXPECT_EQ(with("description", good), "good");
  }
  for (const std::string& bad : {std::string(R"(a\u0007b)"), std::string(R"(a\u009bb)"),
                                 std::string(R"(a\rb)"), std::string(4'097, 'x')}) {
    EXPECT_TRUE(with("description", bad).starts_with("/edits/0/description: ")) << bad;
  }
}

TEST(TransactionDocument, TakesACommentOfOneLineOfPlainText) {
  const auto with = [](const std::string& comment) {
    return mistakes(R"({"edits":[],"comment":)" + comment + "}");
  };
  EXPECT_EQ(with(R"("h\u00e4nd-over \"A\" \u2192 B")"), "good");
  EXPECT_EQ(with('"' + std::string(1'000, 'x') + '"'), "good");
  for (const char* bad :
       {R"("a\u001b[2Jb")", R"("a\u009b2Jb")", R"("a\rb")", R"("a\u0000b")", R"("a\u007fb")"}) {
    EXPECT_EQ(with(bad), "/comment: has a control character in it; printable text is expected\n")
        << bad;
  }
  EXPECT_EQ(mistakes("comment: \"a\\eb\"\nedits: []\n", DocumentFormat::Yaml),
            "/comment: has a control character in it; printable text is expected\n");
  EXPECT_EQ(with('"' + std::string(1'001, 'x') + '"'),
            "/comment: is 1001 bytes long; at most 1000 are allowed\n");
  for (const char* lines : {R"("a\nb")", R"("a\r\nb\n")", R"("\na")"}) {
    EXPECT_EQ(with(lines), "/comment: has several lines; one line of printable text is expected\n")
        << lines;
  }
  EXPECT_EQ(with("5"), "/comment: is no text; put it in quotes\n");
}

// As YAML's blocks do, and text files.
TEST(TransactionDocument, ALineBreakAtTheEndOfACommentIsNoPartOfIt) {
  const auto comment = [](std::string_view text, DocumentFormat format) {
    const auto parsed = parse_transaction(text, format);
    return parsed ? parsed->comment : parsed.error().front().what;
  };
  for (const char* block : {"|", "|+", ">", "|-"}) {
    const std::string document =
        "comment: " + std::string(block) + "\n  the hand-over of ticket 7\n\nedits: []\n";
    EXPECT_EQ(comment(document, DocumentFormat::Yaml), "the hand-over of ticket 7") << block;
  }
  EXPECT_EQ(comment(R"({"edits":[],"comment":"a\r\n"})", DocumentFormat::Json), "a");
  EXPECT_EQ(comment(R"({"edits":[],"comment":"\n"})", DocumentFormat::Json), "");
  EXPECT_EQ(comment("comment:\nedits: []\n", DocumentFormat::Yaml), "");
  const std::string most(1'000, 'x');
  EXPECT_EQ(comment(R"({"edits":[],"comment":")" + most + R"(\n"})", DocumentFormat::Json), most);
}

TEST(TransactionDocument, SaysWhereTheSyntaxBreaks) {
  EXPECT_EQ(mistakes("{\n  \"edits\": [,]\n}").substr(0, 6), "line 2");
  EXPECT_NE(mistakes(""), "good");
  EXPECT_NE(mistakes("[]"), "good");
  EXPECT_NE(mistakes("null"), "good");
  EXPECT_NE(mistakes(R"({"edits":[]} x)"), "good");
  EXPECT_NE(mistakes("{\"edits\":[],\"comment\":\"\xff\"}"), "good");
  EXPECT_NE(mistakes("", DocumentFormat::Yaml), "good");
  EXPECT_NE(mistakes("edits: [", DocumentFormat::Yaml), "good");
  EXPECT_NE(mistakes("edits: &a []\n", DocumentFormat::Yaml), "good");
  EXPECT_NE(mistakes("edits: !!seq []\n", DocumentFormat::Yaml), "good");
  EXPECT_NE(mistakes("edits: *a\n", DocumentFormat::Yaml), "good");
  EXPECT_NE(mistakes("{edits: []}\n---\n{edits: []}\n", DocumentFormat::Yaml), "good");
  EXPECT_NE(mistakes(std::string(100'000, '[')), "good");
  EXPECT_EQ(mistakes(R"({"edits":[0,{"prefixes":)" + std::string(100, '[')).substr(0, 23),
            "/edits/1/prefixes/0/0/0");
  EXPECT_NE(mistakes(std::string(100'000, '['), DocumentFormat::Yaml), "good");
}

TEST(TransactionDocument, StopsCountingMistakesAtItsBound) {
  std::string many = R"({"edits":[)";
  for (int i = 0; i < 1000; ++i) many += i == 0 ? "1" : ",1";
  const auto parsed = parse_transaction(many + "]}", DocumentFormat::Json);
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().size(), kMaxMistakes);
}

}  // namespace
}  // namespace turnpike::api
