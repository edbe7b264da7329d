// Types and ranges of attributes, and which of them predictions cannot depend on.
#include "core/keras/attributes.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kernels/error.h"

namespace gentrain::keras {

namespace {

constexpr std::int64_t kMostInteger = std::int64_t{1} << 31;
constexpr std::size_t kMostShown = 60;
constexpr int kNewestMajor = 3;

/// Attributes of any layer that say how it is made or trained, or what is said elsewhere too.
constexpr std::array<std::string_view, 14> kWithoutEffect = {
    "name",       "trainable",    "dtype", "batch_input_shape", "batch_shape",
    "batch_size", "input_dtype",  "seed",  "input_shape",       "input_dim",
    "autocast",   "input_length", "init",  "build_config"};
constexpr std::array<std::string_view, 4> kEndsWithoutEffect = {"_initializer", "_regularizer",
                                                                "_constraint", "_init"};

bool has_effect(std::string_view name) {
  return std::ranges::find(kWithoutEffect, name) == kWithoutEffect.end() &&
         std::ranges::none_of(kEndsWithoutEffect,
                              [&](std::string_view end) { return name.ends_with(end); });
}

int leading_number(std::string_view& text) {
  int value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && value >= 0) {
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return value;
  }
  return -1;
}

std::string_view first_of(Attributes::Names names) {
  return *names.begin();
}

}  // namespace

Version parse_version(const std::string& text) {
  Version version{-1, -1, text};
  std::string_view rest = text;
  version.major = leading_number(rest);
  if (version.major > 0 && rest.starts_with('.')) {
    rest.remove_prefix(1);
    version.minor = leading_number(rest);
  }
  if (version.minor < 0) {
    throw IoError(fmt::format("keras_version is '{}': no version of Keras", text));
  }
  if (version.major > kNewestMajor) {
    throw IoError(fmt::format("it was written by Keras {}; Keras 1, 2 and 3 are known", text));
  }
  return version;
}

std::string shown(const json& value) {
  // Only as much of it is written as is shown, whatever its size.
  if (value.is_array() && value.size() > kMostShown) {
    return fmt::format("a list of {}", value.size());
  }
  if (value.is_object() && value.size() > kMostShown) {
    return fmt::format("an object of {}", value.size());
  }
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > kMostShown) {
    text.resize(kMostShown);
    text += "...";
  }
  return text;
}

std::int64_t to_integer(const json& value, std::string_view name, std::int64_t low) {
  const auto fail = [&]() -> std::int64_t {
    throw IoError(
        fmt::format("{} is {}: an integer, at least {}, is needed", name, shown(value), low));
  };
  if (!value.is_number_integer()) {
    return fail();
  }
  if (value.is_number_unsigned() &&
      value.get<std::uint64_t>() > static_cast<std::uint64_t>(kMostInteger)) {
    throw IoError(fmt::format("{} is {}: more than can be", name, shown(value)));
  }
  const auto number = value.get<std::int64_t>();
  return number < low ? fail() : number;
}

double to_real(const json& value, std::string_view name) {
  const json* number = &value;
  if (value.is_object() && value.contains("value") && value.contains("type")) {
    number = &value["value"];  // {"type": "ndarray", "value": 0.3}
  }
  if (!number->is_number() || !std::isfinite(number->get<double>())) {
    throw IoError(fmt::format("{} is {}: a finite number is needed", name, shown(value)));
  }
  return number->get<double>();
}

Pair to_pair(const json& value, std::string_view name, std::int64_t low) {
  if (value.is_array()) {
    if (value.size() != 2) {
      throw IoError(fmt::format("{} is {}: two integers are needed", name, shown(value)));
    }
    return {to_integer(value[0], name, low), to_integer(value[1], name, low)};
  }
  const std::int64_t both = to_integer(value, name, low);
  return {both, both};
}

Attributes::Attributes(const json& config) : config_(&config) {
  if (!config.is_object()) {
    throw IoError(fmt::format("its config is {}: an object is needed", shown(config)));
  }
}

const json* Attributes::take(Names names) {
  const json* found = nullptr;
  std::string_view by;
  for (const std::string_view name : names) {
    const auto place = config_->find(std::string(name));
    if (place == config_->end()) {
      continue;
    }
    taken_.emplace(name);
    if (found != nullptr) {
      throw IoError(fmt::format("it has both {} and {}, which mean the same", by, name));
    }
    found = &*place;
    by = name;
  }
  return found;
}

const json& Attributes::need(Names names) {
  if (const json* value = take(names); value != nullptr) {
    return *value;
  }
  throw IoError(fmt::format("it has no attribute {}", fmt::join(names, " or ")));
}

std::int64_t Attributes::integer(Names names, std::int64_t low) {
  return to_integer(need(names), first_of(names), low);
}

std::int64_t Attributes::integer(Names names, std::int64_t low, std::int64_t fallback) {
  const json* value = take(names);
  return value == nullptr ? fallback : to_integer(*value, first_of(names), low);
}

double Attributes::real(Names names) {
  return to_real(need(names), first_of(names));
}

double Attributes::real(Names names, double fallback) {
  const json* value = take(names);
  return value == nullptr ? fallback : to_real(*value, first_of(names));
}

bool Attributes::boolean(Names names, bool fallback) {
  const json* value = take(names);
  if (value == nullptr) {
    return fallback;
  }
  if (!value->is_boolean()) {
    throw IoError(fmt::format("{} is {}: true or false is needed", first_of(names), shown(*value)));
  }
  return value->get<bool>();
}

std::string Attributes::text(Names names, std::string_view fallback) {
  const json* value = take(names);
  if (value == nullptr) {
    return std::string(fallback);
  }
  if (!value->is_string()) {
    throw IoError(fmt::format("{} is {}: a text is needed", first_of(names), shown(*value)));
  }
  return value->get<std::string>();
}

Pair Attributes::pair(Names names) {
  return to_pair(need(names), first_of(names), 1);
}

Pair Attributes::pair(Names names, Pair fallback) {
  const json* value = take(names);
  return value == nullptr || value->is_null() ? fallback : to_pair(*value, first_of(names), 1);
}

void Attributes::expect(std::string_view name, std::initializer_list<json> values) {
  const json* value = take({name});
  if (value == nullptr || value->is_null() || std::ranges::find(values, *value) != values.end()) {
    return;
  }
  throw IoError(fmt::format("{} is {}, which is not supported", name, shown(*value)));
}

void Attributes::finish() const {
  for (const auto& [name, value] : config_->items()) {
    const bool empty = name == "quantization_config" && value.is_null();
    if (!empty && !taken_.contains(name) && has_effect(name)) {
      throw IoError(fmt::format("its attribute {} = {} is not known", name, shown(value)));
    }
  }
}

}  // namespace gentrain::keras
