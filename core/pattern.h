// Patterns that name parameters and layers: "conv1/*", "head_*".
#pragma once

#include <string>

namespace gentrain {

/// Whether `text` matches a pattern in which * stands for any characters and ? for one.
bool matches(const std::string& pattern, const std::string& text);

}  // namespace gentrain
