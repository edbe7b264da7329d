// Model files.
#include "trainers/model_io.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/io/array_file.h"
#include "core/io/posix_file.h"
#include "core/io/sha256.h"
#include "kernels/error.h"
#include "trainers/data_source.h"
#include "trainers/update.h"

namespace gentrain::trainers {

namespace {

nlohmann::json to_json(const data::Normalization& normalization) {
  return {{"mean", normalization.mean}, {"stddev", normalization.stddev}};
}

data::Normalization normalization_from(const nlohmann::json& json) {
  return {json.at("mean").get<double>(), json.at("stddev").get<double>()};
}

ModelDescription describe(const std::filesystem::path& path, const nlohmann::json& header) {
  ModelDescription d;
  try {
    d.model = model_from_json(header.at("model"));
    d.image = Shape(header.at("image").get<std::vector<std::int64_t>>());
    d.classes = header.at("classes").get<int>();
    d.train_normalization = normalization_from(header.at("normalization").at("train"));
    d.test_normalization = normalization_from(header.at("normalization").at("test"));
    d.class_names = header.value("class_names", std::vector<std::string>());
    d.fit = header.value("stretch", false) ? image::Fit::kStretch : image::Fit::kCrop;
    if (!d.class_names.empty() && std::ssize(d.class_names) != d.classes) {
      throw IoError(
          fmt::format("the header has {} names for {} classes", d.class_names.size(), d.classes));
    }
    d.record = header.at("record");
    check_normalization(d.train_normalization, "normalization.train");
    check_normalization(d.test_normalization, "normalization.test");
  } catch (const Error& error) {  // of a shape, of constants
    throw IoError(fmt::format("{}: {}", path.string(), error.what()));
  } catch (const nlohmann::json::exception& error) {
    throw IoError(
        fmt::format("{}: the header is not that of a model: {}", path.string(), error.what()));
  }
  return d;
}

std::unique_ptr<Objective> build(const std::filesystem::path& path, const ModelDescription& d,
                                 ParameterSet& parameters) {
  try {
    return make_objective(d.model, {}, d.image, d.classes, parameters);
  } catch (const JobError& error) {
    throw IoError(fmt::format("{}: {}", path.string(), error.what()));
  } catch (const ShapeError& error) {
    throw IoError(fmt::format("{}: {}", path.string(), error.what()));
  }
}

void check_array(const std::filesystem::path& path, const io::NamedArray& array,
                 const ParameterInfo& info) {
  if (array.name != info.name || array.shape != info.shape) {
    throw IoError(fmt::format("{}: holds {} {} where the network has {} {}", path.string(),
                              array.name, array.shape.str(), info.name, info.shape.str()));
  }
}

}  // namespace

void save_model(const std::filesystem::path& path, const ModelDescription& description,
                Device& device, Queue& queue, const ParameterSet& parameters,
                const std::function<void()>& before_rename) {
  io::ArrayFile file;
  file.kind = io::FileKind::kModel;
  file.header = {{"model", to_json(description.model)},
                 {"image", std::vector<std::int64_t>(description.image.extents().begin(),
                                                     description.image.extents().end())},
                 {"classes", description.classes},
                 {"normalization",
                  {{"train", to_json(description.train_normalization)},
                   {"test", to_json(description.test_normalization)}}},
                 {"stretch", description.fit == image::Fit::kStretch},
                 {"class_names", description.class_names},
                 {"record", description.record}};
  for (int i = 0; i < parameters.size(); ++i) {
    file.arrays.push_back({parameters.info(i).name, parameters.info(i).shape,
                           copy_to_host<float>(device, queue, parameters[i])});
  }
  io::write_array_file(path, file, before_rename);
}

LoadedModel load_model(const std::filesystem::path& path, Device& device, Queue& queue) {
  const io::ArrayFile file = io::read_array_file(path, io::FileKind::kModel);
  LoadedModel loaded;
  loaded.description = describe(path, file.header);
  const ModelDescription& d = loaded.description;
  loaded.parameters = std::make_unique<ParameterSet>();
  loaded.objective = build(path, d, *loaded.parameters);
  if (static_cast<int>(file.arrays.size()) != loaded.parameters->size()) {
    throw IoError(fmt::format("{}: holds {} arrays but the network has {}", path.string(),
                              file.arrays.size(), loaded.parameters->size()));
  }
  loaded.parameters->allocate(device, queue);
  for (int i = 0; i < loaded.parameters->size(); ++i) {
    const io::NamedArray& array = file.arrays[static_cast<std::size_t>(i)];
    check_array(path, array, loaded.parameters->info(i));
    copy_from_host<float>(device, queue, array.values, (*loaded.parameters)[i]);
  }
  loaded.parameters->mark_changed();
  return loaded;
}

void init_from(const InitFromOptions& options, Device& device, Queue& queue,
               ParameterSet& parameters) {
  const std::vector<bool> wanted =
      select_parameters(parameters, options.parameters, "the init_from");
  if (!io::is_there(options.file)) {
    throw IoError(fmt::format("init_from.name: there is no file {}", options.file));
  }
  const io::ArrayFile file = io::parse_array_file(options.file, io::read_file(options.file));
  const std::string prefix = file.kind == io::FileKind::kCheckpoint ? "weights/" : "";
  for (int i = 0; i < parameters.size(); ++i) {
    if (!wanted[static_cast<std::size_t>(i)]) {
      continue;
    }
    const ParameterInfo& info = parameters.info(i);
    const std::string name = prefix + info.name;
    if (io::find_array(file.arrays, name) == nullptr) {
      throw IoError(fmt::format("{}: has no array {} (init_from.parameters says which are taken)",
                                options.file, info.name));
    }
    copy_from_host<float>(device, queue, values_of(file.arrays, name, info.shape, options.file),
                          parameters[i]);
  }
  parameters.reset_averages(device, queue);
}

const std::vector<float>& values_of(std::span<const io::NamedArray> arrays, const std::string& name,
                                    const Shape& shape, const std::string& source) {
  const io::NamedArray* const array = io::find_array(arrays, name);
  if (array == nullptr) {
    throw IoError(fmt::format("{}: has no array {}", source, name));
  }
  if (array->shape != shape) {
    throw IoError(fmt::format("{}: {} is {} where the network has {}", source, name,
                              array->shape.str(), shape.str()));
  }
  return array->values;
}

void add_arena(std::vector<io::NamedArray>& arrays, const std::string& prefix,
               const ParameterSet& parameters, const std::vector<float>& arena) {
  for (int i = 0; i < parameters.size(); ++i) {
    const ParameterInfo& info = parameters.info(i);
    const auto first = arena.begin() + info.offset;
    arrays.push_back({fmt::format("{}/{}", prefix, info.name),
                      info.shape,
                      {first, first + info.shape.elements()}});
  }
}

std::vector<float> arena_of(std::span<const io::NamedArray> arrays, const std::string& prefix,
                            const ParameterSet& parameters, const std::string& source) {
  std::vector<float> arena(static_cast<std::size_t>(parameters.arena_elements()));
  for (int i = 0; i < parameters.size(); ++i) {
    const ParameterInfo& info = parameters.info(i);
    const std::vector<float>& values =
        values_of(arrays, fmt::format("{}/{}", prefix, info.name), info.shape, source);
    std::copy(values.begin(), values.end(), arena.begin() + info.offset);
  }
  return arena;
}

namespace {

/// In pieces: every rank hashes, and no host has room for a copy of all weights for each of them.
void hash_weights(io::Sha256& hash, Device& device, Queue& queue, const ParameterSet& parameters) {
  constexpr std::int64_t kMost = 1 << 18;  // elements at a time
  for (int i = 0; i < parameters.size(); ++i) {
    const ParameterInfo& info = parameters.info(i);
    const std::int64_t elements = info.shape.elements();
    for (std::int64_t first = 0; first < elements; first += kMost) {
      const Shape piece{std::min(kMost, elements - first)};
      const std::vector<float> values =
          copy_to_host<float>(device, queue, parameters.arena().slice(info.offset + first, piece));
      hash.update(values.data(), values.size() * sizeof(float));
    }
  }
}

}  // namespace

std::string weights_sha256(Device& device, Queue& queue, const ParameterSet& parameters) {
  io::Sha256 hash;
  hash_weights(hash, device, queue, parameters);
  return hash.finish();
}

std::string state_sha256(Device& device, Queue& queue, const ParameterSet& parameters,
                         const std::vector<std::vector<float>>& state) {
  io::Sha256 hash;
  hash_weights(hash, device, queue, parameters);
  for (const std::vector<float>& part : state) {
    for (int i = 0; i < parameters.size(); ++i) {
      const ParameterInfo& info = parameters.info(i);
      hash.update(part.data() + info.offset,
                  static_cast<std::size_t>(info.shape.elements()) * sizeof(float));
    }
  }
  return hash.finish();
}

}  // namespace gentrain::trainers
