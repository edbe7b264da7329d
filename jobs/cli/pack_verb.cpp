// gentrain pack FOLDER FILE: the images of a folder, decoded, in one file.
#include <algorithm>
#include <charconv>
#include <iostream>
#include <optional>
#include <string_view>
#include <thread>

#include <fmt/format.h>

#include "core/image/pack.h"
#include "jobs/cli/exit_codes.h"
#include "jobs/cli/options.h"
#include "jobs/cli/schema.h"
#include "jobs/cli/verbs.h"
#include "kernels/error.h"

namespace gentrain::jobs {

namespace po = boost::program_options;

namespace {

/// All of a text as a number, or nothing.
std::optional<std::int64_t> number_of(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value)
                                                                  : std::nullopt;
}

/// "64" or "48x64", rows first.
void read_size(const std::string& text, image::FitOptions& fit) {
  const std::size_t cross = text.find('x');
  const auto h = number_of(std::string_view(text).substr(0, cross));
  const auto w =
      cross == std::string::npos ? h : number_of(std::string_view(text).substr(cross + 1));
  const Range range = between(1, kMostPixels);
  if (!h || !w || !range.contains(static_cast<double>(*h)) ||
      !range.contains(static_cast<double>(*w))) {
    throw JobError(
        fmt::format("--size: '{}' is neither N nor HxW with numbers {}", text, range.text()));
  }
  fit.h = *h;
  fit.w = *w;
}

/// The value of an enumeration that an option names.
template <class E>
E chosen(const OptionSet& options, const std::string& name) {
  const auto& text = options.get<std::string>(name);
  for (const Choice<E>& choice : kChoices<E>) {
    if (choice.name == text) {
      return choice.value;
    }
  }
  throw JobError(fmt::format("--{}: there is no '{}' (known: {})", name, text,
                             fmt::join(choice_names<E>(), ", ")));
}

image::PackOptions pack_options(const OptionSet& options) {
  using OnBadFile = trainers::DataOptions::OnBadFile;
  image::PackOptions pack;
  if (options.has("size")) {
    read_size(options.get<std::string>("size"), pack.fit);
  }
  pack.fit.fit = chosen<image::Fit>(options, "fit");
  pack.fit.channels = options.get<int>("channels");
  if (pack.fit.channels != 1 && pack.fit.channels != 3) {
    throw JobError(fmt::format("--channels: {} were asked for, images have 3 (RGB) or 1 (grey)",
                               pack.fit.channels));
  }
  pack.leave_out_bad = chosen<OnBadFile>(options, "on-bad-file") == OnBadFile::kSkip;
  const auto threads = options.get<std::int64_t>("threads");
  if (!between(0, kMostThreads).contains(static_cast<double>(threads))) {
    throw JobError(
        fmt::format("--threads: {} is not {}", threads, between(0, kMostThreads).text()));
  }
  const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  pack.threads = threads > 0 ? static_cast<int>(threads) : static_cast<int>(cores);
  return pack;
}

}  // namespace

int pack_verb(Session& /*session*/, const Arguments& arguments) {
  OptionSet options("gentrain pack FOLDER FILE [options]",
                    "Decodes the images of a folder, as data.source: folder takes it, into one "
                    "file with hashes,\n"
                    "which every job takes in the folder's place.");
  options.add_argument("folder");
  options.add_argument("file");
  options.visible.add_options()("size", po::value<std::string>(),
                                "N or HxW: scales all images; without it each keeps its size")(
      "fit", po::value<std::string>()->default_value("crop"),
      "crop or stretch, as data.fit: for --size")("channels", po::value<int>()->default_value(3),
                                                  "3 (RGB) or 1 (grey)")(
      "on-bad-file", po::value<std::string>()->default_value("stop"),
      "stop or skip: what a damaged file means")(
      "threads", po::value<std::int64_t>()->default_value(0), "that decode; 0: one for each core");
  if (!options.parse(arguments)) {
    return kSuccess;
  }
  const std::string folder = options.required("folder");
  const std::string file = options.required("file");
  const image::PackReport report = image::pack_folder(folder, file, pack_options(options));
  for (const image::BadFile& bad : report.left_out) {
    std::cout << fmt::format("left out: {}\n", bad.reason);
  }
  std::cout << fmt::format("{}: {} images of {} classes, {:.1f} MiB of pixels, {} left out\n", file,
                           report.images, report.classes.size(),
                           static_cast<double>(report.bytes) / (1024.0 * 1024.0),
                           report.left_out.size());
  return kSuccess;
}

}  // namespace gentrain::jobs
