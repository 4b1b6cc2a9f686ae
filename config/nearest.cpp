#include "config/nearest.h"

#include <algorithm>
#include <cctype>
#include <string>
#include <vector>

namespace turnpike::config {
namespace {

// "AllowedIPs", "allowed-ips" and "allowed_ips" are the same intention.
std::string folded(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c == '_' || c == '-' || c == ' ') continue;
    out.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
  }
  return out;
}

// Insertions, removals, replacements and swaps of neighbours that lead from one to the other.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> cost(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) cost[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) cost[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
      }
    }
  }
  return cost[a.size()][b.size()];
}

}  // namespace

std::string_view nearest(std::span<const std::string_view> words, std::string_view written) {
  constexpr size_t kLongestGuess = 40;
  if (written.size() > kLongestGuess) return {};
  const std::string wanted = folded(written);
  std::string_view best;
  size_t best_distance = 0;
  for (const std::string_view word : words) {
    const size_t distance = edit_distance(wanted, folded(word));
    if (distance > std::max<size_t>(1, word.size() / 3)) continue;
    if (best.empty() || distance < best_distance) {
      best = word;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace turnpike::config
