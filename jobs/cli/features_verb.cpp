// gentrain features MODEL PICTURES... | IN.h5 --out OUT.h5: what layers of a model make of
// pictures, or of arrays.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "comm/watchdog.h"
#include "core/io/row_file.h"
#include "jobs/cli/exit_codes.h"
#include "jobs/cli/model_options.h"
#include "jobs/cli/opened_options.h"
#include "jobs/cli/picture_names.h"
#include "jobs/cli/predict_pictures.h"
#include "jobs/cli/verbs.h"
#include "kernels/error.h"
#include "trainers/model_at_work.h"
#include "trainers/model_works.h"

namespace gentrain::jobs {

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace {

using trainers::ModelTensor;
using trainers::StreamRow;

using Texts = std::vector<std::string>;

Texts texts_of(const OptionSet& options, const char* name) {
  return options.has(name) ? options.get<Texts>(name) : Texts();
}

bool is_array_file(const std::string& name) {
  const std::string ending = image::ending_of(name);
  return ending == ".h5" || ending == ".hdf5";
}

/// What both forms are told.
struct Features {
  comm::Communicator& communicator;
  trainers::ModelAtWork& at_work;
  Texts sources;
  Texts layers;
  trainers::FeaturePool pool = trainers::FeaturePool::kAverage;
  std::int64_t batch = 8;
  fs::path out;

  [[nodiscard]] bool writes() const { return communicator.rank() == 0; }
  [[nodiscard]] const trainers::OpenedModel& model() const { return at_work.model(); }
  void write_origin(io::RowFileWriter& file) const {
    file.set_attribute("model", model().name());
    file.set_attribute("model_kind", model().kind());
    file.set_attribute("model_sha256", model().sha256());
  }
  void tell_notes() const {
    for (const std::string& note : model().notes()) {
      fmt::print(stderr, "{}\n", note);
    }
  }
};

/// OUT.h5 of pictures, on rank 0.
class PictureFile {
 public:
  PictureFile(const Features& what, const std::string& layer, const Shape& row,
              const Texts& classes)
      : file_(what.out),
        features_(file_.add_floats("features", row)),
        names_(file_.add_texts("names")),
        labels_(file_.add_integers("labels")),
        failed_(file_.add_texts("failed/names")),
        reasons_(file_.add_texts("failed/reasons")) {
    what.write_origin(file_);
    file_.set_attribute("layer", layer);
    file_.set_attribute("pool", std::string(name_of(what.pool)));
    const int names = file_.add_texts("class_names");
    for (const std::string& name : classes) {
      file_.append(names, name);
    }
  }

  void row(const StreamRow& row) {
    if (!row.error.empty()) {
      file_.append(failed_, row.item.name);
      file_.append(reasons_, row.error);
      return;
    }
    file_.append(features_, row.values);
    file_.append(names_, row.item.name);
    file_.append(labels_, row.item.label);
  }
  void commit() { file_.commit(); }

 private:
  io::RowFileWriter file_;
  int features_, names_, labels_, failed_, reasons_;
};

int features_of_pictures(const Features& what) {
  if (what.layers.size() > 1) {
    throw JobError("--layer: of pictures the features are those of one layer");
  }
  const trainers::OpenedModel& model = what.model();
  static_cast<void>(model.image());
  if (what.layers.empty() && model.outputs().size() != 1) {
    throw JobError(fmt::format("--layer is needed: {} has {} outputs with names", model.name(),
                               model.outputs().size()));
  }
  const ModelTensor layer =
      what.layers.empty() ? model.outputs().front() : model.layer(what.layers.front());
  const trainers::FeatureWork work(model, read_picture, layer, what.pool);
  what.at_work.check_same_on_all_ranks(true);
  std::unique_ptr<PictureNames> names;
  std::unique_ptr<PictureFile> file;
  if (what.writes()) {
    names = std::make_unique<PictureNames>(what.sources);
    file = std::make_unique<PictureFile>(what, layer.name, work.row_shape(), names->classes());
    what.tell_notes();
  }
  const trainers::StreamSummary summary = trainers::stream(
      what.communicator, what.at_work.runner(),
      [&](const std::stop_token& stop) { return names->next(stop); }, work, what.batch,
      [&](const StreamRow& row) { file->row(row); });
  if (what.writes()) {
    if (summary.items == 0) {
      throw IoError(fmt::format("{} names no pictures", names->description()));
    }
    if (summary.failed < summary.items) {
      file->commit();
      fmt::print("{}: {} of {}, {} pictures\n", what.out.string(), work.row_shape().str(),
                 layer.name, summary.items - summary.failed);
    }
    tell_failures(summary, "pictures");
  }
  what.communicator.barrier();
  return summary.failed == summary.items ? kBadFile : kSuccess;
}

/// OUT.h5 of arrays, on rank 0.
class ArrayFile {
 public:
  ArrayFile(const Features& what, const std::vector<ModelTensor>& wanted)
      : file_(what.out), wanted_(wanted) {
    const std::size_t outputs = what.model().outputs().size();
    const Texts names = trainers::array_names("output", outputs);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const std::string name = i < outputs ? names[i] : "layers/" + what.layers[i - outputs];
      const Shape& shape = wanted[i].shape;
      arrays_.push_back(
          file_.add_floats(name, wanted[i].is_rows ? Shape(shape.extents().subspan(1)) : shape));
    }
    what.write_origin(file_);
  }

  void row(const StreamRow& row) {
    std::size_t first = 0;
    for (std::size_t i = 0; i < wanted_.size(); ++i) {
      const Shape& shape = wanted_[i].shape;
      const std::int64_t rows = wanted_[i].is_rows ? shape[0] : 1;
      const auto elements = static_cast<std::size_t>(shape.elements() / rows);
      for (std::int64_t k = 0; k < rows; ++k, first += elements) {
        file_.append(arrays_[i], row.values.subspan(first, elements));
      }
    }
  }
  void commit() { file_.commit(); }

 private:
  io::RowFileWriter file_;
  std::vector<ModelTensor> wanted_;
  std::vector<int> arrays_;
};

int features_of_arrays(const Features& what) {
  const trainers::OpenedModel& model = what.model();
  if (model.graph() == nullptr) {
    throw JobError(fmt::format("{} takes no arrays: its layers have no names", model.name()));
  }
  std::vector<ModelTensor> wanted = model.outputs();
  for (const std::string& layer : what.layers) {
    wanted.push_back(model.layer(layer));
  }
  const trainers::ArrayWork work(model, what.sources.front(), wanted);
  what.at_work.check_same_on_all_ranks(false);
  std::unique_ptr<ArrayFile> file;
  if (what.writes()) {
    file = std::make_unique<ArrayFile>(what, wanted);
  }
  std::int64_t left = work.rows();
  const auto next = [&left](const std::stop_token& /*stop*/) {
    return left-- > 0 ? std::optional(trainers::StreamItem{}) : std::nullopt;
  };
  const trainers::StreamSummary summary = trainers::stream(
      what.communicator, what.at_work.runner(), next, work, what.batch, [&](const StreamRow& row) {
        if (!row.error.empty()) {
          throw IoError(row.error);  // a row left out would shift the others
        }
        file->row(row);
      });
  if (what.writes()) {
    file->commit();
    fmt::print("{}: {} rows of {} arrays\n", what.out.string(), summary.items, wanted.size());
  }
  what.communicator.barrier();
  return kSuccess;
}

/// Throws JobError if the result would take the place of what it is made of.
void check_out(const fs::path& out, const trainers::ModelChoice& choice, const Texts& sources) {
  Texts read = sources;
  std::error_code error;
  const bool is_run = fs::is_directory(choice.model, error);
  read.push_back(is_run ? (fs::path(choice.model) / "model.h5").string() : choice.model);
  read.push_back(choice.weights);
  for (const std::string& file : read) {
    if (fs::equivalent(file, out, error)) {
      throw JobError(fmt::format("--out {}: is the file that is read", out.string()));
    }
  }
}

}  // namespace

int features_verb(Session& session, const Arguments& arguments) {
  OptionSet options(
      "[mpirun -np N] gentrain features MODEL PICTURES... | IN.h5 --out OUT.h5 [options]",
      "What a layer of a model makes of pictures (files, folders, lists, URLs, -: as predict takes "
      "them):\n/features, /names, /labels, /class_names and /failed in OUT.h5, which is replaced "
      "if "
      "it is there. Or\narrays in place of pictures: /input, or /input_0 and so on, of IN.h5 as "
      "the "
      "model's file declares\nthem become /output, or /output_0 and so on, and /layers/NAME.");
  add_model_options(options);
  options.add_arguments("source");
  options.visible.add_options()("out", po::value<std::string>()->value_name("OUT.h5"),
                                "the file that is written")(
      "layer", po::value<Texts>()->composing()->value_name("NAME"),
      "the layer; without it the model's output; of arrays several, beside the outputs")(
      "pool", po::value<std::string>()->default_value("avg"),
      "what becomes of a map's pixels: avg, max or none; of pictures alone");
  add_batch_option(options);
  add_opened_options(options, "none");
  if (!options.parse(arguments)) {
    return kSuccess;
  }
  trainers::ModelChoice choice = model_choice(options);
  choice.top = top_of(options);
  choice.layers = texts_of(options, "layer");
  const Texts sources = texts_of(options, "source");
  if (sources.empty()) {
    throw JobError(
        "there is nothing to look at (usage: gentrain features MODEL PICTURES... | IN.h5 --out "
        "OUT.h5)");
  }
  const fs::path out = options.required("out");
  check_out(out, choice, sources);
  const auto pool = trainers::feature_pool_of(options.get<std::string>("pool"));
  const std::int64_t batch = batch_of(options);
  const bool arrays = is_array_file(sources.front());
  if (arrays && sources.size() > 1) {
    throw JobError(fmt::format("'{}' is given behind {}: one file of arrays at a time", sources[1],
                               sources[0]));
  }
  const comm::Watchdog watchdog(session.communicator);
  trainers::ModelAtWork at_work(choice, inference_options(options), session.communicator);
  const Features what{session.communicator, at_work, sources, choice.layers, pool, batch, out};
  return arrays ? features_of_arrays(what) : features_of_pictures(what);
}

}  // namespace gentrain::jobs
