// Patterns that name parameters and layers: "conv1/*", "head_*".
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace gentrain {

/// Whether `text` matches a pattern in which * stands for any characters and ? for one.
bool matches(const std::string& pattern, const std::string& text);

/// Names for the message that a pattern or a name matches none of them: "a, b, c". Of more than
/// `most` those that begin most like it, and how many more there are.
std::string listed_near(const std::string& pattern, std::vector<std::string> names,
                        std::size_t most = 24);

}  // namespace gentrain
