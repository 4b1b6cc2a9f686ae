// Valid files, changed at random: the loader never crashes, and whatever it says stands inside the
// file.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <string>

#include "fixtures.h"

namespace turnpike::config {
namespace {

uint64_t seed_of_run() {
  const char* given = std::getenv("TURNPIKE_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
}

std::string rich_config() {
  std::string text = test::small_config();
  text = test::replaced(text, "iface=lan0\n",
                        "iface=lan0\n    addresses: [10.0.0.1/24]\n"
                        "    routes: [{to: 10.1.0.0/16, via: 10.0.0.2}]\n");
  return "dataplane: {workers: [1], eal: ['-l', \"0\"]}\n" + text +
         "        endpoint: 198.51.100.7:51820\n"
         "        preshared_key: " +
         test::key_text(9) +
         "\n"
         "        description: |\n"
         "          several\n"
         "          lines\n"
         "control: {metrics: ''}\n";
}

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}

  std::string mutate(std::string text) {
    const size_t changes = 1 + below(4);
    for (size_t i = 0; i < changes && !text.empty(); ++i) change(text);
    return text;
  }

 private:
  size_t below(size_t limit) {
    return std::uniform_int_distribution<size_t>(0, limit - 1)(random_);
  }

  void change(std::string& text) {
    static const char* const kPieces[] = {
        "&a ",   "*a", "!!int ", "- ", ": ",   "{",  "}",      "[",        "]",
        "\n",    "  ", "\t",     "'",  "\"",   "|",  ">",      "#",        "---\n",
        "...\n", "? ", "null",   "~",  "<<: ", "\\", "\xff",   "\xc3\xa4", "%YAML 1.2\n",
        ",",     "0x", "010",    "@",  "`",    "\r", "peers:", "tunnels:", "a: b\n"};
    const size_t at = below(text.size());
    const size_t length = std::min(text.size() - at, 1 + below(20));
    switch (below(5)) {
      case 0:
        text[at] = static_cast<char>(below(256));
        break;
      case 1:
        text.erase(at, length);
        break;
      case 2:
        text.insert(at, kPieces[below(std::size(kPieces))]);
        break;
      case 3:
        text.insert(below(text.size()), text.substr(at, length));
        break;
      default:
        text.resize(at);
        break;
    }
  }

  std::mt19937_64 random_;
};

TEST(MutatedFiles, NeverCrashTheLoaderAndMistakesStandInsideTheFile) {
  const uint64_t seed = seed_of_run();
  SCOPED_TRACE(testing::Message() << "TURNPIKE_SEED=" << seed);
  Mutator mutator(seed);
  const std::string original = rich_config();
  ASSERT_EQ(test::mistakes_of(original), std::vector<std::string>());
  size_t good = 0;
  size_t bad = 0;
  for (int round = 0; round < 5'000; ++round) {
    const std::string text = mutator.mutate(original);
    const auto loaded = parse_config(text, "gw.yaml", "/nonexistent");
    if (loaded) {
      ++good;
      continue;
    }
    ++bad;
    const auto ends = static_cast<uint32_t>(std::count(text.begin(), text.end(), '\n'));
    const uint32_t lines = std::max(1u, ends + (!text.empty() && text.back() != '\n' ? 1 : 0));
    ASSERT_FALSE(loaded.error().empty());
    for (const ConfigError& error : loaded.error()) {
      ASSERT_GE(error.line, 1u) << to_string(error) << "\n" << text;
      ASSERT_LE(error.line, lines) << to_string(error) << "\n" << text;
      ASSERT_GE(error.column, 1u) << to_string(error) << "\n" << text;
      ASSERT_FALSE(error.message.empty());
    }
  }
  // Both kinds must occur, else the mutations are too tame or too wild to show anything.
  EXPECT_GT(good, 100u);
  EXPECT_GT(bad, 1'000u);
}

}  // namespace
}  // namespace turnpike::config
