// What a call takes, in the three forms that Keras has written it in.
#pragma once

#include <string>
#include <vector>

#include "core/keras/attributes.h"

namespace gentrain::keras {

/// An output by name, as the file numbers it.
struct Reference {
  std::string layer;
  std::int64_t node = 0;
  std::int64_t tensor = 0;
};

/// The calls of a layer out of `inbound_nodes`:
///   Keras 1  [[["a", 0, 0], ["b", 0, 0]]]
///   Keras 2  [[["a", 0, 0, {}]]]
///   Keras 3  [{"args": [{"class_name": "__keras_tensor__", "config": {"keras_history": ...}}]}]
/// Throws IoError for another form, and for arguments that are no tensors and may matter.
std::vector<std::vector<Reference>> read_calls(const json& nodes);

/// `input_layers` and `output_layers`: ["a", 0, 0], or a list of these. Throws IoError.
std::vector<Reference> read_references(const json& list);

}  // namespace gentrain::keras
