// The attributes of a layer as Keras wrote them: each is asked for by the names it has had, with
// its type and range, and what nobody asked for is refused unless predictions cannot depend on it.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace gentrain::keras {

using nlohmann::json;

/// The version of Keras that wrote a file.
struct Version {
  int major = 0;  // 0: not known, a file of the first versions
  int minor = 0;
  std::string text;  // "2.2.4-tf"
};
inline constexpr int kNewKeras =
    3;  // the first major version whose files say and mean other things

/// "2.2.4-tf" -> 2, 2. Throws IoError for text that begins otherwise and for versions above 3.
Version parse_version(const std::string& text);

/// Rows and columns, in Keras's order.
struct Pair {
  std::int64_t h = 1;
  std::int64_t w = 1;
};

/// A value as messages show it, cut where it is long.
std::string shown(const json& value);

/// All that throws throws IoError with the reason alone.
class Attributes {
 public:
  /// Names of one attribute, of which a layer has one at most.
  using Names = std::initializer_list<std::string_view>;

  /// Throws unless it is an object. `config` must outlive the attributes.
  explicit Attributes(const json& config);

  /// The value, null if there is none. Throws if two of the names are there.
  const json* take(Names names);

  /// -2^31 to 2^31 bounds all integers; those of the overloads without a fallback must be there.
  std::int64_t integer(Names names, std::int64_t low);
  std::int64_t integer(Names names, std::int64_t low, std::int64_t fallback);
  /// Finite; also an array of NumPy with one value.
  double real(Names names);
  double real(Names names, double fallback);
  bool boolean(Names names, bool fallback);
  std::string text(Names names, std::string_view fallback);
  /// One integer for both or two of them, each at least 1.
  Pair pair(Names names);
  Pair pair(Names names, Pair fallback);

  /// Throws unless the attribute is missing, null or one of the values: what gentrain knows.
  void expect(std::string_view name, std::initializer_list<json> values);

  /// Throws for an attribute that was not taken and may matter.
  void finish() const;

 private:
  const json& need(Names names);

  const json* config_;
  std::set<std::string, std::less<>> taken_;
};

/// A number of an attribute. Throws naming `name`.
std::int64_t to_integer(const json& value, std::string_view name, std::int64_t low);
double to_real(const json& value, std::string_view name);
Pair to_pair(const json& value, std::string_view name, std::int64_t low);

}  // namespace gentrain::keras
