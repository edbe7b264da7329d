// gentrain upscale MODEL IMAGE... --out DIR: images four times as high and wide.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <map>

#include <fmt/format.h>

#include "comm/watchdog.h"
#include "core/io/atomic_file.h"
#include "jobs/cli/exit_codes.h"
#include "jobs/cli/model_options.h"
#include "jobs/cli/terminal.h"
#include "jobs/cli/verbs.h"
#include "kernels/error.h"
#include "trainers/models/srgan.h"

namespace gentrain::jobs {

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;
using trainers::kUpscale;
using trainers::UpscaleFile;
using trainers::UpscaleReport;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// DIR/NAME.png for each image NAME.*. Throws JobError naming two whose names would be the same.
std::vector<UpscaleFile> name_results(const std::vector<std::string>& images, const fs::path& out) {
  std::vector<UpscaleFile> files;
  std::map<fs::path, std::string> taken;
  for (const std::string& image : images) {
    const fs::path name = fs::path(image).stem();
    if (name.empty()) {
      throw JobError(fmt::format("'{}' does not name an image file", image));
    }
    const fs::path to = out / fs::path(name.string() + ".png");
    const auto [other, is_new] = taken.try_emplace(to, image);
    if (!is_new) {
      throw JobError(
          fmt::format("{} and {} would both become {}", other->second, image, to.string()));
    }
    files.push_back({image, to});
  }
  return files;
}

/// Throws JobError for results that are there already, unless they may be `overwritten`, and for
/// one that would replace an image which is read; IoError if nothing can be written to the folder.
void make_ready(const std::vector<UpscaleFile>& files, const fs::path& out, bool overwritten) {
  std::error_code error;
  std::map<fs::path, std::string> read;
  for (const UpscaleFile& file : files) {
    read[fs::weakly_canonical(file.from, error)] = file.from.string();
  }
  for (const UpscaleFile& file : files) {
    const auto own = read.find(fs::weakly_canonical(file.to, error));
    if (!error && own != read.end()) {
      throw JobError(
          fmt::format("{} would be replaced by an enlargement: take another --out", own->second));
    }
    if (!overwritten && fs::exists(fs::symlink_status(file.to, error))) {
      throw JobError(
          fmt::format("{} is there already: replace it with --overwrite, or take another --out",
                      file.to.string()));
    }
  }
  fs::create_directories(out, error);
  if (error || !fs::is_directory(out)) {
    throw IoError(fmt::format("the output folder {} cannot be made: {}", out.string(),
                              error ? error.message() : "there is a file of that name"));
  }
  const io::AtomicWriter probe(files.front().to);
}

/// What is printed while images are enlarged: on rank 0 alone.
class Screen {
 public:
  explicit Screen(const std::vector<UpscaleFile>& files)
      : files_(files), terminal_(on_terminal()) {}

  void finished(std::size_t i, const UpscaleReport& report) {
    erase();
    if (!report.error.empty()) {
      std::fflush(stdout);
      const std::string line = fmt::format("gentrain: {}\n", report.error);
      std::fwrite(line.data(), 1, line.size(), stderr);
    } else {
      fmt::print("{}: {} x {} pixels become {} x {} in {}, {:.1f} s\n", files_[i].from.string(),
                 report.h, report.w, kUpscale * report.h, kUpscale * report.w,
                 files_[i].to.string(), report.seconds);
    }
    std::fflush(stdout);
  }

  void tile(std::int64_t done, std::int64_t all) {
    constexpr double kEvery = 0.5;  // seconds
    if (done == 1) {
      begin_ = Clock::now();
    }
    if (!terminal_ || done == 1 || seconds_since(drawn_at_) < kEvery) {
      return;
    }
    constexpr std::size_t kWidth = 20;
    const double share = static_cast<double>(done - 1) / static_cast<double>(all - 1);
    fmt::print("\r[{:.<{}}] tile {} of {}  {:.0f} s left\033[K",
               std::string(static_cast<std::size_t>(share * kWidth), '#'), kWidth, done, all,
               seconds_since(begin_) * (1 - share) / share);
    std::fflush(stdout);
    drawn_at_ = Clock::now();
    drawn_ = true;
  }

 private:
  void erase() {
    if (drawn_) {
      fmt::print("\r\033[K");
      drawn_ = false;
    }
  }

  const std::vector<UpscaleFile>& files_;
  bool terminal_;
  bool drawn_ = false;
  Clock::time_point begin_;  // behind the first tile of an image
  Clock::time_point drawn_at_;
};

/// The last line. `seconds`: from the first file to the last.
void print_summary(const trainers::UpscaleSummary& summary, double seconds) {
  double pixels = 0;
  std::size_t images = 0;
  for (const UpscaleReport& report : summary.reports) {
    if (report.error.empty()) {
      pixels += static_cast<double>(kUpscale * report.h * kUpscale * report.w);
      ++images;
    }
  }
  fmt::print(
      "{} of {} images, {:.2f} MPixel in {:.1f} s: {:.3f} MPixel/s, peak memory {:.0f} MiB "
      "a rank\n",
      images, summary.reports.size(), pixels / 1e6, seconds, pixels / 1e6 / seconds,
      summary.peak_rss_mib);
  std::fflush(stdout);
}

bool failed(const UpscaleReport& report) {
  return !report.error.empty();
}

}  // namespace

int upscale_verb(Session& session, const Arguments& arguments) {
  OptionSet options(
      "[mpirun -np N] gentrain upscale MODEL IMAGE... --out DIR [options]",
      "Images four times as high and wide, by the generator of a trained SRGAN: DIR/NAME.png for "
      "each\nimage NAME.*, a JPEG, PNG, BMP or WebP file of any size. Grey ones are taken as RGB.");
  add_model_options(options);
  options.add_arguments("image");
  options.visible.add_options()("out", po::value<std::string>()->value_name("DIR"),
                                "folder of the results; made if it is not there")(
      "overwrite", po::bool_switch(), "replaces results that are there");
  if (!options.parse(arguments)) {
    return kSuccess;
  }
  const std::string model = options.required("model");
  if (!options.has("image")) {
    throw JobError(
        "there is no image to enlarge (usage: gentrain upscale MODEL IMAGE... --out DIR)");
  }
  const fs::path out = options.required("out");
  const auto files = name_results(options.get<std::vector<std::string>>("image"), out);
  comm::Communicator& communicator = session.communicator;
  const bool prints = communicator.rank() == 0;
  const comm::Watchdog watchdog(communicator);
  trainers::Inference inference(model, inference_options(options), communicator);
  static_cast<void>(inference.generator());  // before anything is written
  if (prints) {
    make_ready(files, out, options.get<bool>("overwrite"));
    if (const std::string note = inference.weights_note(); !note.empty()) {
      fmt::print("{}\n", note);
    }
  }
  communicator.barrier();
  Screen screen(files);
  trainers::UpscaleWatch watch;
  if (prints) {
    watch.finished = [&screen](auto i, const auto& report) { screen.finished(i, report); };
    watch.tile = [&screen](auto done, auto all) { screen.tile(done, all); };
  }
  const auto start = Clock::now();
  const trainers::UpscaleSummary summary = inference.upscale(files, watch);
  if (prints) {
    for (std::size_t i = 0; i < files.size(); ++i) {
      if (i % static_cast<std::size_t>(communicator.size()) != 0) {  // another rank's
        screen.finished(i, summary.reports[i]);
      }
    }
    print_summary(summary, seconds_since(start));
  }
  communicator.barrier();
  const bool any_failed = std::any_of(summary.reports.begin(), summary.reports.end(), failed);
  return any_failed ? kBadFile : kSuccess;
}

}  // namespace gentrain::jobs
