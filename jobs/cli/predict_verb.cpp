// gentrain predict MODEL [FILE]: what a trained model says of images.
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "jobs/cli/draw.h"
#include "jobs/cli/exit_codes.h"
#include "jobs/cli/model_options.h"
#include "jobs/cli/verbs.h"
#include "kernels/error.h"

namespace gentrain::jobs {

namespace po = boost::program_options;

namespace {

/// One sample's row.
struct Prediction {
  std::int64_t index = 0;
  std::int32_t label = -1;  // the right one, -1 if unknown
  std::span<const float> probabilities;

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
    return static_cast<std::size_t>(label) == best ? "right"
                                                   : fmt::format("wrong, it is {}", label);
  }
};

void print_table(const std::vector<Prediction>& predictions) {
  std::cout << "  image  label  probability  then\n";
  for (const Prediction& p : predictions) {
    const auto order = p.ranking();
    std::string then;
    for (std::size_t i = 1; i < std::min<std::size_t>(order.size(), 3); ++i) {
      then += fmt::format("{} {:.4f}  ", order[i], p.probabilities[order[i]]);
    }
    std::cout << fmt::format("  {:>5}  {:>5}  {:>11.4f}  {} {}\n", p.index, order[0],
                             p.probabilities[order[0]], then, p.verdict(order[0]));
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
    std::cout << line.dump() << "\n";
  }
}

/// Each image beside the three most probable labels.
void draw(const std::vector<Prediction>& predictions, const data::Dataset& samples) {
  const Shape shape = samples.sample_shape();
  if (shape[2] != 1 || shape[1] > 100) {
    throw JobError(fmt::format("--draw: images of {} are not small grey ones", shape.str()));
  }
  const bool colours = isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr;
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(shape.elements()));
  constexpr std::size_t kTop = 3;
  constexpr int kBarWidth = 20;
  for (const Prediction& p : predictions) {
    samples.read(p.index, pixels.data());
    std::vector<std::string> lines =
        draw_image(pixels, static_cast<int>(shape[0]), static_cast<int>(shape[1]), colours);
    const auto order = p.ranking();
    const std::size_t middle = lines.size() / 2 > 2 ? lines.size() / 2 - 2 : 0;
    for (std::size_t i = 0; i < lines.size(); ++i) {
      std::string beside;
      if (i == middle) {
        beside = fmt::format("image {}: {}  {}", p.index, order[0], p.verdict(order[0]));
      } else if (i > middle && i - middle <= std::min(kTop, order.size())) {
        const std::size_t k = order[i - middle - 1];
        beside = fmt::format("{:>3}  {}  {:.4f}", k, bar(p.probabilities[k], kBarWidth),
                             p.probabilities[k]);
      }
      std::cout << "  " << lines[i] << "   " << beside << "\n";
    }
    std::cout << "\n";
  }
}

void print(const std::vector<Prediction>& predictions, const data::Dataset& samples,
           const OptionSet& options) {
  const auto& format = options.get<std::string>("format");
  if (format == "csv") {
    print_csv(predictions);
  } else if (format == "jsonl") {
    print_json_lines(predictions);
  } else if (format == "table") {
    if (options.has("draw") || isatty(STDOUT_FILENO) == 1) {
      draw(predictions, samples);
    }
    print_table(predictions);
  } else {
    throw JobError(fmt::format("--format: there is no '{}' (known: table, csv, jsonl)", format));
  }
}

}  // namespace

int predict_verb(Session& session, const Arguments& arguments) {
  OptionSet options(
      "gentrain predict MODEL [FILE] [options]",
      "Labels and probabilities of images: of an idx file, an .h5 file with /x and /y, a "
      "folder with MNIST's\ntest set, or 'digits'; without FILE MNIST's test set, or the "
      "built-in digits where it is not found.");
  add_model_options(options);
  options.add_argument("file");
  options.visible.add_options()("count,n", po::value<std::int64_t>(),
                                "the first so many images; all of them unless given")(
      "format", po::value<std::string>()->default_value("table"), "table, csv or jsonl")(
      "draw", "draw each image beside its label, also where the output is no terminal");
  if (!options.parse(arguments)) {
    return kSuccess;
  }
  if (session.communicator.rank() != 0) {
    return kSuccess;  // one rank does it
  }
  trainers::Inference inference(options.required("model"), inference_options(options),
                                session.communicator);
  const trainers::InferenceData data = trainers::load_inference_data(
      options.has("file") ? options.get<std::string>("file") : "", inference.workers());
  const std::int64_t there = data.samples->size();
  const std::int64_t count = options.has("count") ? options.get<std::int64_t>("count") : there;
  if (count < 1 || count > there) {
    throw JobError(fmt::format("-n {}: there are {} images in {}; ask for 1 to {}", count, there,
                               data.samples->description(), there));
  }
  const std::vector<float> probabilities = inference.predict(*data.samples, count);
  const auto classes = static_cast<std::size_t>(inference.description().classes);
  std::vector<Prediction> predictions;
  for (std::int64_t i = 0; i < count; ++i) {
    predictions.push_back(
        {i, data.samples->label(i),
         std::span(probabilities).subspan(static_cast<std::size_t>(i) * classes, classes)});
  }
  std::cerr << data.note << "\n";
  print(predictions, *data.samples, options);
  return kSuccess;
}

}  // namespace gentrain::jobs
