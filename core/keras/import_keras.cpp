// import_keras: from the bytes of a file to a graph with its arrays.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/graph/imported.h"
#include "core/io/hdf5_objects.h"
#include "core/io/keras_weights.h"
#include "core/io/posix_file.h"
#include "core/io/sha256.h"
#include "core/keras/archive.h"
#include "core/keras/emit.h"
#include "core/keras/model_config.h"
#include "core/keras/weights.h"
#include "kernels/error.h"

namespace gentrain::graph {

namespace {

namespace fs = std::filesystem;
using keras::Builder;
using keras::json;
using keras::Model;
using keras::Version;

std::span<const std::byte> span_of(const io::Bytes& file) {
  return std::as_bytes(std::span(file.data.get(), file.size));
}

/// Text of a root attribute, "" if there is none.
std::string root_text(const io::Hdf5Objects& objects, const char* name) {
  const auto texts = objects.texts("", name);
  return texts && texts->size() == 1 ? texts->front() : "";
}

/// Keras 1 and old Keras 2 wrote sequential models within a sequential one without a name. Groups
/// of the file have them, in the order of the layers; deeper ones get a number.
void name_models(Model& model, const io::KerasWeights* file) {
  const std::size_t first = model.layers[0].is_input() ? 1 : 0;
  const bool listed = file != nullptr && file->layers().size() == model.layers.size() - first;
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    keras::Layer& layer = model.layers[i];
    if (layer.model && layer.name.empty()) {
      layer.name = listed ? file->layers()[i - first].name : fmt::format("sequential_{}", i);
    }
    if (layer.model) {
      name_models(*layer.model, nullptr);
    }
  }
}

/// Graph and layers; the arrays come later.
Builder build(const Model& model, const Version& version, ImportedModel& imported) {
  Builder builder(version);
  keras::emit_model(model, builder, imported);
  imported.writer = version.text.empty() ? "Keras" : "Keras " + version.text;
  return builder;
}

void finish(Builder& builder, const std::vector<keras::Bundle>& bundles,
            std::vector<std::string> problems, ImportedModel& imported) {
  imported.arrays = keras::read_arrays(bundles, std::move(problems));
  imported.training_only = std::move(builder.training_only);
  imported.graph = std::move(builder.graph);
}

ImportedModel import_h5(const fs::path& path, const io::Bytes& file) {
  std::string config;
  Version version;
  {
    const io::Hdf5Objects objects(span_of(file));
    config = root_text(objects, "model_config");
    if (config.empty()) {
      throw IoError(
          "it has no attribute model_config: no whole model, but weights alone or another file");
    }
    if (const std::string text = root_text(objects, "keras_version"); !text.empty()) {
      version = keras::parse_version(text);
    }
  }
  Model model = keras::read_model(keras::parse_json(config), version);
  const io::KerasWeights weights(path, file);
  name_models(model, &weights);
  ImportedModel imported;
  Builder builder = build(model, version, imported);
  std::vector<std::string> problems;
  const std::vector<keras::Bundle> bundles = keras::bundles_of(model, builder, weights, problems);
  finish(builder, bundles, std::move(problems), imported);
  return imported;
}

ImportedModel import_archive(std::span<const std::byte> file) {
  const keras::Archive archive = keras::read_archive(file);
  const json metadata = keras::parse_json(archive.metadata);
  const json text = metadata.is_object() ? metadata.value("keras_version", json()) : json();
  if (!text.is_string()) {
    throw IoError("its metadata.json has no keras_version");
  }
  const Version version = keras::parse_version(text.get<std::string>());
  Model model = keras::read_model(keras::parse_json(archive.config), version);
  name_models(model, nullptr);
  ImportedModel imported;
  Builder builder = build(model, version, imported);
  const io::Hdf5Objects objects(archive.weights);
  std::vector<std::string> problems;
  const std::vector<keras::Bundle> bundles = keras::bundles_of(model, builder, objects, problems);
  finish(builder, bundles, std::move(problems), imported);
  return imported;
}

/// A reason with the file's name before it, once; HDF5's positions are those in the file.
std::string with_path(const fs::path& path, std::string reason) {
  constexpr std::string_view kBlock = " behind the first block";
  if (const auto found = reason.find(kBlock); found != std::string::npos) {
    reason.erase(found, kBlock.size());
  }
  const std::string name = path.string();
  for (auto found = reason.find(name + ": "); found != std::string::npos;
       found = reason.find(name + ": ")) {
    reason.erase(found, name.size() + 2);
  }
  return fmt::format("{}: {}", name, reason);
}

}  // namespace

ImportedModel import_keras(const fs::path& path) {
  if (!io::is_there(path)) {
    throw IoError(path.string() + " is missing: a model of Keras (.h5, .keras) was looked for");
  }
  if (std::error_code ignored; !fs::is_regular_file(path, ignored)) {
    throw IoError(path.string() + ": it is no regular file");
  }
  const io::Bytes file = io::read_file(path);
  try {
    ImportedModel imported =
        keras::is_archive(span_of(file)) ? import_archive(span_of(file)) : import_h5(path, file);
    imported.sha256 = io::sha256(span_of(file));
    return imported;
  } catch (const IoError& error) {
    throw IoError(with_path(path, error.what()));
  } catch (const ShapeError& error) {
    throw IoError(with_path(path, error.what()));
  } catch (const json::exception& error) {
    throw IoError(with_path(path, fmt::format("its configuration is damaged: {}", error.what())));
  }
}

}  // namespace gentrain::graph
