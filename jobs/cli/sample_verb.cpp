// gentrain sample MODEL OUT.png: images that a generative model makes of noise.
#include <cmath>
#include <iostream>

#include <fmt/format.h>

#include "jobs/cli/exit_codes.h"
#include "jobs/cli/model_options.h"
#include "jobs/cli/schema.h"
#include "jobs/cli/verbs.h"
#include "kernels/error.h"
#include "trainers/pictures.h"

namespace gentrain::jobs {

namespace po = boost::program_options;

namespace {

/// An option's number, which must be in a range.
std::int64_t number(const OptionSet& options, const char* name, const Range& range) {
  const auto value = options.get<std::int64_t>(name);
  if (!range.contains(static_cast<double>(value))) {
    throw JobError(fmt::format("--{} {}: must be {}", name, value, range.text()));
  }
  return value;
}

}  // namespace

int sample_verb(Session& session, const Arguments& arguments) {
  OptionSet options("gentrain sample MODEL OUT.png [options]",
                    "Images that a variational autoencoder makes of noise, on one sheet. The same "
                    "seed gives\nthe same images.");
  add_model_options(options);
  options.add_argument("out");
  constexpr std::int64_t kMost = 10000;
  options.visible.add_options()("count,n", po::value<std::int64_t>()->default_value(64),
                                "so many images")(
      "seed", po::value<std::int64_t>()->default_value(1), "of the noise")(
      "columns", po::value<std::int64_t>(), "images in a row; without it the sheet is square");
  if (!options.parse(arguments)) {
    return kSuccess;
  }
  const std::int64_t count = number(options, "count", between(1, kMost));
  const auto seed = static_cast<std::uint64_t>(number(options, "seed", at_least(0)));
  const std::int64_t columns =
      options.has("columns")
          ? number(options, "columns", between(1, kMost))
          : static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(count))));
  const std::string out = options.required("out");
  if (session.communicator.rank() != 0) {
    return kSuccess;  // one rank does it
  }
  trainers::Inference inference(options.required("model"), inference_options(options),
                                session.communicator);
  image::write_png(out, trainers::sheet(inference.sample(seed, count), columns));
  std::cout << fmt::format("{} images in {}", count, out) << std::endl;
  return kSuccess;
}

}  // namespace gentrain::jobs
