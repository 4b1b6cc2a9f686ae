// What somebody probably meant who wrote a word that is none.
#pragma once

#include <span>
#include <string_view>

namespace turnpike::config {

// The word of `words` that `written` is near enough to; empty: none.
[[nodiscard]] std::string_view nearest(std::span<const std::string_view> words,
                                       std::string_view written);

}  // namespace turnpike::config
