// The structure of a model out of its configuration, whichever version of Keras wrote it: layers,
// models among them, and which output of which call each call takes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/keras/attributes.h"

namespace gentrain::keras {

/// An output of a call of a layer of the same model.
struct Source {
  int layer = -1;
  int call = 0;
  int output = 0;
};

struct Model;

struct Layer {
  std::string name;  // "" of a model that Keras 1 wrote without one
  std::string type;  // "Conv2D"
  json config;       // null of a model
  bool trainable = true;
  std::vector<std::vector<Source>> calls;  // what each call takes; an input has one, of nothing
  std::unique_ptr<Model> model;            // of a model

  [[nodiscard]] bool is_input() const { return type == "InputLayer"; }
};

struct Model {
  std::string name;
  bool functional = false;    // or sequential
  bool knows_shape = true;    // Keras made it with the shape of its input
  std::vector<Layer> layers;  // in the file's order
  std::vector<int> inputs;    // layers, InputLayer all of them
  std::vector<Source> outputs;
};

/// Extents of one sample out of [null, 28, 28, 1]; -1 for one that is not said, empty if nothing
/// is. Throws IoError for another thing.
std::vector<std::int64_t> sample_extents(const json& shape);

/// Reads {"class_name": ..., "config": ...}. Throws IoError naming the layer: a class that is no
/// model, layers that are not as Keras writes them, one name twice, a custom class, an element type
/// other than float32, calls that take what is not there.
Model read_model(const json& object, const Version& version);

/// Whether a layer's class is one of Keras's models.
bool is_model(const std::string& type);

struct CallOfLayer {
  int layer = -1;
  int call = 0;
};

/// All calls of a model in an order in which they can run: the first of the list that is ready.
/// Throws IoError that names the layers of a cycle.
std::vector<CallOfLayer> order_of(const Model& model);

/// Parses JSON. Throws IoError for no JSON and for one that is nested deeper than models are.
json parse_json(const std::string& text);

}  // namespace gentrain::keras
