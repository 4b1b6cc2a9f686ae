// The result of an operation that can fail: a value, or an error with enough context to act on.
#pragma once

#include <expected>
#include <utility>

namespace turnpike {

template <typename T, typename E>
using Result = std::expected<T, E>;

template <typename E>
[[nodiscard]] constexpr std::unexpected<std::decay_t<E>> fail(E&& error) {
  return std::unexpected<std::decay_t<E>>(std::forward<E>(error));
}

}  // namespace turnpike
