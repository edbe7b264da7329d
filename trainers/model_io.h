// A trained model as one file, and back: everything that eval and predict need.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/data/dataset.h"
#include "core/image/folder.h"
#include "core/io/array_file.h"
#include "core/parameters.h"
#include "trainers/objective.h"

namespace gentrain::trainers {

/// What a model file says beside the weights. How pixels become what the network takes follows from
/// `model`, which may begin with a conversion (InputConversion), and the constants of
/// normalisation.
struct ModelDescription {
  ModelOptions model;
  Shape image;  // [h, w, c] of one image
  int classes = 0;
  data::Normalization train_normalization;
  data::Normalization test_normalization;
  std::vector<std::string> class_names = {};  // none where they have only numbers
  image::Fit fit = image::Fit::kCrop;         // how images of other extents become `image`
  nlohmann::json record;  // of the training run: job, contract, steps, hashes, metrics
};

/// Throws IoError (see io::write_array_file), and what `before_rename` throws.
void save_model(const std::filesystem::path& path, const ModelDescription& description,
                Device& device, Queue& queue, const ParameterSet& parameters,
                const std::function<void()>& before_rename = {});

struct LoadedModel {
  ModelDescription description;
  std::unique_ptr<ParameterSet> parameters;
  std::unique_ptr<Objective> objective;
};
/// Throws IoError (see io::read_array_file; or arrays that are not this network's, named),
/// JobError.
LoadedModel load_model(const std::filesystem::path& path, Device& device, Queue& queue);

/// Takes parameters from a model or checkpoint; averages begin at what their parameters are then.
/// Throws IoError (see io::parse_array_file; or an
/// array that is missing or has another shape, named), JobError for a pattern that matches nothing.
void init_from(const InitFromOptions& options, Device& device, Queue& queue,
               ParameterSet& parameters);

/// The values of one array. Throws IoError naming `source` and the array if it is missing or has
/// another shape.
const std::vector<float>& values_of(std::span<const io::NamedArray> arrays, const std::string& name,
                                    const Shape& shape, const std::string& source);
/// Adds an arena's parts as arrays PREFIX/PARAMETER; and the arena out of such arrays, zero between
/// the parts. Throws as values_of().
void add_arena(std::vector<io::NamedArray>& arrays, const std::string& prefix,
               const ParameterSet& parameters, const std::vector<float>& arena);
std::vector<float> arena_of(std::span<const io::NamedArray> arrays, const std::string& prefix,
                            const ParameterSet& parameters, const std::string& source);

/// SHA-256 over the parameters' values alone, in order of registration.
std::string weights_sha256(Device& device, Queue& queue, const ParameterSet& parameters);
/// The same followed by the optimizer's state, each part arena-shaped (see Update::gather_state).
std::string state_sha256(Device& device, Queue& queue, const ParameterSet& parameters,
                         const std::vector<std::vector<float>>& state);

}  // namespace gentrain::trainers
