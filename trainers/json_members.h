// JSON of which not all is known: members that may be missing, texts that may be no UTF-8.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace gentrain::trainers {

/// Texts that are no UTF-8 are written with replaced characters.
inline constexpr auto kReplace = nlohmann::json::error_handler_t::replace;

/// The text of a member; empty if it is not there or no text.
inline std::string text_in(const nlohmann::json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

}  // namespace gentrain::trainers
