// gentrain predict MODEL [IMAGES...]: what a trained model says of images. Here: those of data
// sets; predict_pictures.h has files, folders, lists and URLs.
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "comm/watchdog.h"
#include "jobs/cli/draw.h"
#include "jobs/cli/exit_codes.h"
#include "jobs/cli/model_options.h"
#include "jobs/cli/opened_options.h"
#include "jobs/cli/picture_names.h"
#include "jobs/cli/predict_pictures.h"
#include "jobs/cli/schema.h"
#include "jobs/cli/terminal.h"
#include "jobs/cli/verbs.h"
#include "kernels/error.h"
#include "trainers/inference.h"
#include "trainers/model_at_work.h"

namespace gentrain::jobs {

namespace po = boost::program_options;

namespace {

/// One sample's row.
struct Prediction {
  std::int64_t index = 0;
  std::int32_t label = -1;  // the right one, -1 if unknown
  std::span<const float> probabilities;
  std::span<const std::string> class_names;  // none where classes have only numbers

  /// "cats", or the class's number.
  [[nodiscard]] std::string name_of(std::size_t which) const {
    return which < class_names.size() ? class_names[which] : fmt::format("{}", which);
  }
  /// Classes from the most to the least probable.
  [[nodiscard]] std::vector<std::size_t> ranking() const {
    std::vector<std::size_t> order(probabilities.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [this](std::size_t a, std::size_t b) {
      return probabilities[a] > probabilities[b];
    });
    return order;
  }
  /// "right", "wrong, it is 4", or nothing.
  [[nodiscard]] std::string verdict(std::size_t best) const {
    if (label < 0) {
      return "";
    }
    return static_cast<std::size_t>(label) == best
               ? "right"
               : fmt::format("wrong, it is {}", name_of(static_cast<std::size_t>(label)));
  }
};

void print_table(const std::vector<Prediction>& predictions) {
  std::size_t width = 5;
  for (const Prediction& p : predictions) {
    width = std::max(width, p.name_of(p.ranking()[0]).size());
  }
  std::cout << fmt::format("  image  {:>{}}  probability  then\n", "label", width);
  for (const Prediction& p : predictions) {
    const auto order = p.ranking();
    std::string then;
    for (std::size_t i = 1; i < std::min<std::size_t>(order.size(), 3); ++i) {
      then += fmt::format("{} {:.4f}  ", p.name_of(order[i]), p.probabilities[order[i]]);
    }
    std::cout << fmt::format("  {:>5}  {:>{}}  {:>11.4f}  {} {}\n", p.index, p.name_of(order[0]),
                             width, p.probabilities[order[0]], then, p.verdict(order[0]));
  }
}

void print_csv(const std::vector<Prediction>& predictions) {
  std::cout << "image,label";
  for (std::size_t k = 0; !predictions.empty() && k < predictions[0].probabilities.size(); ++k) {
    std::cout << ",p" << k;
  }
  std::cout << "\n";
  for (const Prediction& p : predictions) {
    std::cout << p.index << "," << p.ranking()[0];
    for (const float probability : p.probabilities) {
      std::cout << fmt::format(",{}", probability);
    }
    std::cout << "\n";
  }
}

void print_json_lines(const std::vector<Prediction>& predictions) {
  for (const Prediction& p : predictions) {
    nlohmann::json line = {
        {"image", p.index},
        {"label", p.ranking()[0]},
        {"probabilities", std::vector<float>(p.probabilities.begin(), p.probabilities.end())}};
    if (p.label >= 0) {
      line["truth"] = p.label;
    }
    if (!p.class_names.empty()) {
      line["class"] = p.name_of(p.ranking()[0]);
    }
    std::cout << line.dump() << "\n";
  }
}

constexpr std::int64_t kTop = 5;

bool can_draw(const Shape& image) {
  constexpr std::int64_t kWidest = 100;
  return image[2] == 1 && image[1] <= kWidest;
}

/// What stands beside an image of `height` lines: the label, and bars of the classes in their
/// order, of the most probable ones alone if there are too many.
std::vector<std::string> beside(const Prediction& p, std::size_t height, bool colours) {
  constexpr int kBarWidth = 24;
  const auto order = p.ranking();
  std::vector<std::size_t> shown(
      order.begin(), order.begin() + static_cast<std::ptrdiff_t>(
                                         std::min(order.size(), height > 4 ? height - 4 : 1)));
  if (shown.size() == order.size()) {
    std::sort(shown.begin(), shown.end());
  }
  std::vector<std::string> lines((height - std::min(height, shown.size() + 2)) / 2);
  lines.push_back(
      fmt::format("image {}: {}   {}", p.index, p.name_of(order[0]), p.verdict(order[0])));
  lines.emplace_back();
  for (const std::size_t k : shown) {
    const bool strong = colours && k == order[0];
    lines.push_back(fmt::format("{}{:>3} {} {:>5.1f} %{}", strong ? "\033[1;32m" : "", p.name_of(k),
                                bar(p.probabilities[k], kBarWidth), 100.0F * p.probabilities[k],
                                strong ? "\033[0m" : ""));
  }
  lines.resize(std::max(height, lines.size()));
  return lines;
}

void draw(const std::vector<Prediction>& predictions, const data::Dataset& samples) {
  const Shape shape = samples.sample_shape();
  const bool colours = on_terminal() && std::getenv("NO_COLOR") == nullptr;
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(shape.elements()));
  for (const Prediction& p : predictions) {
    samples.read(p.index, pixels.data());
    const std::vector<std::string> image =
        draw_image(pixels, static_cast<int>(shape[0]), static_cast<int>(shape[1]), colours);
    const std::vector<std::string> text = beside(p, image.size(), colours);
    for (std::size_t i = 0; i < text.size(); ++i) {
      const std::string gap(static_cast<std::size_t>(shape[1]), ' ');
      std::cout << "  " << (i < image.size() ? image[i] : gap) << "  " << text[i] << "\n";
    }
    std::cout << "\n";
  }
}

/// Whether images are drawn: asked for, or few of them on a terminal.
bool wants_drawing(const std::vector<Prediction>& predictions, const Shape& image,
                   const OptionSet& options) {
  constexpr std::size_t kFew = 32;
  if (!options.has("draw")) {
    return on_terminal() && can_draw(image) && predictions.size() <= kFew;
  }
  if (!can_draw(image)) {
    throw JobError(fmt::format("--draw: images of {} are not small grey ones", image.str()));
  }
  return true;
}

void print(const std::vector<Prediction>& predictions, const data::Dataset& samples,
           const OptionSet& options) {
  const auto& format = options.get<std::string>("format");
  if (format == "csv") {
    print_csv(predictions);
  } else if (format == "jsonl") {
    print_json_lines(predictions);
  } else {
    if (wants_drawing(predictions, samples.sample_shape(), options)) {
      draw(predictions, samples);
    }
    print_table(predictions);
  }
}

/// --format. Throws JobError for one that is not known.
std::string format_of(const OptionSet& options) {
  const auto& format = options.get<std::string>("format");
  if (format != "table" && format != "csv" && format != "jsonl") {
    throw JobError(fmt::format("--format: there is no '{}' (known: table, csv, jsonl)", format));
  }
  return format;
}

/// How many of `there` images -n asks for.
std::int64_t count_of(const OptionSet& options, const data::Dataset& samples) {
  const std::int64_t there = samples.size();
  constexpr std::int64_t kOfTestSet = 8;
  const std::int64_t count = options.has("count")  ? options.get<std::int64_t>("count")
                             : options.has("file") ? there
                                                   : std::min(kOfTestSet, there);
  if (count < 1 || count > there) {
    throw JobError(fmt::format("-n {}: there are {} images in {}; ask for 1 to {}", count, there,
                               samples.description(), there));
  }
  return count;
}

/// The model's number of a sample's class, by name where both have names; -1 if it is unknown.
std::int32_t truth_of(const data::Dataset& samples, std::int64_t index,
                      const std::vector<std::string>& known) {
  const std::int32_t label = samples.label(index);
  const std::vector<std::string> names = samples.class_names();
  if (label < 0 || known.empty() || names.empty()) {
    return label;
  }
  const auto found = std::ranges::find(known, names.at(static_cast<std::size_t>(label)));
  return found == known.end() ? -1 : static_cast<std::int32_t>(found - known.begin());
}

/// The first so many samples of a data set, on this rank alone.
int predict_samples(trainers::ModelAtWork& at_work, const std::string& source,
                    const OptionSet& options) {
  const trainers::OpenedModel& model = at_work.model();
  const trainers::InferenceData data = trainers::load_inference_data(
      source, model.image(), at_work.runner().pool().workers(), model.fit());
  const std::int64_t count = count_of(options, *data.samples);
  const std::vector<float> probabilities = at_work.predict(*data.samples, count);
  const auto classes = static_cast<std::size_t>(model.classes());
  std::vector<Prediction> predictions;
  for (std::int64_t i = 0; i < count; ++i) {
    predictions.push_back(
        {i, truth_of(*data.samples, i, model.class_names()),
         std::span(probabilities).subspan(static_cast<std::size_t>(i) * classes, classes),
         model.class_names()});
  }
  std::cerr << data.note << "\n";
  for (const std::string& note : model.notes()) {
    std::cerr << note << "\n";
  }
  print(predictions, *data.samples, options);
  return kSuccess;
}

/// What the options say of pictures. Throws JobError for counts out of range.
PicturePredictions picture_predictions(const OptionSet& options,
                                       const std::vector<std::string>& names) {
  PicturePredictions what;
  what.names = names;
  what.format = format_of(options);
  what.batch = batch_of(options);
  what.top = options.get<std::int64_t>("top");
  if (const Range range = between(1, kMostOutputs);
      !range.contains(static_cast<double>(what.top))) {
    throw JobError(fmt::format("--top {}: must be {}", what.top, range.text()));
  }
  if (options.has("count")) {
    what.most = options.get<std::int64_t>("count");
    if (*what.most < 1) {
      throw JobError(fmt::format("-n {}: at least 1 picture has to be asked for", *what.most));
    }
  }
  return what;
}

/// The one argument that is to be a data set. Throws JobError for several.
std::string data_set_of(const std::vector<std::string>& sources) {
  if (sources.size() > 1) {
    const auto odd = std::ranges::find_if_not(sources, names_pictures);
    throw JobError(fmt::format(
        "'{}' is given with others: only pictures, folders of them, lists and URLs can be",
        odd == sources.end() ? sources.front() : *odd));
  }
  return sources.empty() ? "" : sources.front();
}

}  // namespace

int predict_verb(Session& session, const Arguments& arguments) {
  OptionSet options(
      "[mpirun -np N] gentrain predict MODEL [IMAGES...] [options]",
      "What a classifier says of pictures: image files, folders of them, lists (.txt, a path or "
      "URL "
      "on\neach line), URLs, and - (such a list on standard input), one row each as it comes. A "
      "pack, an idx\nfile, an .h5 file with /x and /y, a folder with MNIST's test set, and "
      "'digits' "
      "are taken too; without\nIMAGES MNIST's test set, or the built-in digits where it is not "
      "found. MODEL: a model file or run of\ngentrain's, a whole model of Keras or ONNX, or "
      "inception_v3, vgg16, vgg19 or squeezenet.");
  add_model_options(options);
  options.add_arguments("file");
  options.visible.add_options()("count,n", po::value<std::int64_t>(),
                                "the first so many images; without it all of them, or 8 of the "
                                "test set")("top", po::value<std::int64_t>()->default_value(kTop),
                                            "of pictures: so many classes, the likeliest first")(
      "format", po::value<std::string>()->default_value("table"), "table, csv or jsonl")(
      "draw", "draw each image beside its label, also where the output is no terminal");
  add_batch_option(options);
  add_opened_options(options);
  if (!options.parse(arguments)) {
    return kSuccess;
  }
  const auto sources = options.has("file") ? options.get<std::vector<std::string>>("file")
                                           : std::vector<std::string>();
  comm::Communicator& communicator = session.communicator;
  std::uint8_t pictures = 0;
  if (communicator.rank() == 0) {  // for all: another host may have other folders
    pictures =
        !options.has("draw") && !sources.empty() && std::ranges::all_of(sources, names_pictures)
            ? 1
            : 0;
  }
  communicator.broadcast({&pictures, sizeof pictures}, 0);
  if (pictures == 0) {
    static_cast<void>(format_of(options));
    const std::string data_set = data_set_of(sources);
    if (communicator.rank() != 0) {
      return kSuccess;  // one rank does it
    }
    trainers::ModelAtWork at_work(model_choice(options), inference_options(options), communicator);
    return predict_samples(at_work, data_set, options);
  }
  const PicturePredictions what = picture_predictions(options, sources);
  const comm::Watchdog watchdog(communicator);
  trainers::ModelAtWork at_work(model_choice(options), inference_options(options), communicator);
  return predict_pictures(at_work, communicator, what);
}

}  // namespace gentrain::jobs
