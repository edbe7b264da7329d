// Matching with one star to go back to.
#include "core/pattern.h"

#include <algorithm>
#include <functional>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace gentrain {

bool matches(const std::string& pattern, const std::string& text) {
  std::size_t p = 0;
  std::size_t t = 0;
  std::size_t star = std::string::npos;
  std::size_t retry = 0;
  while (t < text.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t]) && pattern[p] != '*') {
      ++p;
      ++t;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      retry = t;
    } else if (star != std::string::npos) {
      p = star + 1;
      t = ++retry;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') {
    ++p;
  }
  return p == pattern.size();
}

std::string listed_near(const std::string& pattern, std::vector<std::string> names,
                        std::size_t most) {
  std::string more;
  if (names.size() > most) {
    std::ranges::stable_sort(names, std::greater(), [&](const std::string& name) {
      return std::ranges::mismatch(pattern, name).in1 - pattern.begin();
    });
    more = fmt::format(" and {} more", names.size() - most);
    names.resize(most);
  }
  return fmt::format("{}{}", fmt::join(names, ", "), more);
}

}  // namespace gentrain
