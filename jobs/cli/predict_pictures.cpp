// Rows of predictions as a table, CSV or JSON lines.
#include "jobs/cli/predict_pictures.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <numeric>
#include <span>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "jobs/cli/exit_codes.h"
#include "jobs/cli/picture_names.h"
#include "kernels/error.h"
#include "trainers/model_works.h"

namespace gentrain::jobs {

namespace {

using trainers::StreamRow;

constexpr std::size_t kNameWidth = 32;
constexpr std::size_t kWidestClass = 24;

/// What prints rows.
class Rows {
 public:
  Rows(const trainers::OpenedModel& model, const PicturePredictions& what,
       std::vector<std::string> folders)
      : names_(model.class_names()),
        format_(what.format),
        classes_(model.classes()),
        top_(static_cast<std::size_t>(std::min<std::int64_t>(what.top, classes_))),
        folders_(std::move(folders)) {
    for (const std::string& name : names_) {
      width_ = std::clamp(name.size(), width_, kWidestClass);
    }
  }

  void begin() const {
    if (format_ == "csv") {
      std::string line = "image";
      for (std::size_t i = 1; i <= top_; ++i) {
        line += fmt::format(",label{0},p{0}", i);
      }
      put(line + ",error");
    } else if (format_ == "table") {
      put(fmt::format("  {:<{}}  {:>{}}  probability  then", "picture", kNameWidth, "label",
                      width_));
    }
  }

  void row(const StreamRow& row) const {
    const std::vector<std::size_t> best = ranking(row.values);
    if (format_ == "csv") {
      put_csv(row, best);
    } else if (format_ == "jsonl") {
      put_json(row, best);
    } else {
      put_table(row, best);
    }
  }

 private:
  /// Flushed: who reads along sees the first rows before the last are computed.
  static void put(const std::string& line) {
    fmt::print("{}\n", line);
    std::fflush(stdout);
  }

  [[nodiscard]] std::string name_of(std::size_t which) const {
    return which < names_.size() ? names_[which] : fmt::format("{}", which);
  }

  /// The most probable classes, the first one first.
  [[nodiscard]] std::vector<std::size_t> ranking(std::span<const float> values) const {
    std::vector<std::size_t> order(values.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto end = order.begin() + static_cast<std::ptrdiff_t>(std::min(top_, order.size()));
    std::partial_sort(order.begin(), end, order.end(), [&](std::size_t a, std::size_t b) {
      return values[a] > values[b] || (values[a] == values[b] && a < b);
    });
    order.erase(end, order.end());
    return order;
  }

  /// The class that the folder is named after in which the picture lies, by its number where the
  /// model has no names; -1 if it is unknown.
  [[nodiscard]] std::int64_t truth_of(const StreamRow& row) const {
    if (row.item.label < 0) {
      return -1;
    }
    const std::string& folder = folders_.at(static_cast<std::size_t>(row.item.label));
    if (names_.empty()) {
      for (std::int64_t i = 0; i < classes_; ++i) {
        if (folder == std::to_string(i)) {
          return i;
        }
      }
      return -1;
    }
    const auto found = std::ranges::find(names_, folder);
    return found == names_.end() ? -1 : found - names_.begin();
  }

  void put_table(const StreamRow& row, const std::vector<std::size_t>& best) const {
    if (best.empty()) {
      put(fmt::format("  {:<{}}  {}", row.item.name, kNameWidth, row.error));
      return;
    }
    std::string line = fmt::format("  {:<{}}  {:>{}}  {:>11.4f}  ", row.item.name, kNameWidth,
                                   name_of(best[0]), width_, row.values[best[0]]);
    for (std::size_t i = 1; i < best.size(); ++i) {
      line += fmt::format("{} {:.4f}  ", name_of(best[i]), row.values[best[i]]);
    }
    if (const std::int64_t truth = truth_of(row); truth >= 0) {
      const bool right = truth == static_cast<std::int64_t>(best[0]);
      line += right ? "right"
                    : fmt::format("wrong, it is {}", name_of(static_cast<std::size_t>(truth)));
    }
    line.erase(line.find_last_not_of(' ') + 1);
    put(line);
  }

  /// As RFC 4180 has it.
  static std::string quoted(const std::string& text) {
    if (text.find_first_of(",\"\r\n") == std::string::npos) {
      return text;
    }
    std::string result = "\"";
    for (const char c : text) {
      result += c == '"' ? std::string("\"\"") : std::string(1, c);
    }
    return result + "\"";
  }

  void put_csv(const StreamRow& row, const std::vector<std::size_t>& best) const {
    std::string line = quoted(row.item.name);
    for (std::size_t i = 0; i < top_; ++i) {
      line += best.empty() ? ",,"
                           : fmt::format(",{},{}", quoted(name_of(best[i])), row.values[best[i]]);
    }
    put(line + "," + quoted(row.error));
  }

  void put_json(const StreamRow& row, const std::vector<std::size_t>& best) const {
    nlohmann::json line = {{"image", row.item.name}};
    if (best.empty()) {
      line["error"] = row.error;
    } else {
      line["label"] = best[0];
      line["top"] = nlohmann::json::array();
      for (const std::size_t which : best) {
        line["top"].push_back({{"label", which}, {"probability", row.values[which]}});
        if (which < names_.size()) {
          line["top"].back()["class"] = names_[which];
        }
      }
      if (best[0] < names_.size()) {
        line["class"] = names_[best[0]];
      }
      if (const std::int64_t truth = truth_of(row); truth >= 0) {
        line["truth"] = truth;
      }
    }
    // A file's name need not be UTF-8.
    put(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }

  const std::vector<std::string>& names_;
  std::string format_;
  std::int64_t classes_;
  std::size_t top_;
  std::vector<std::string> folders_;
  std::size_t width_ = 5;
};

}  // namespace

void tell_failures(const trainers::StreamSummary& summary, const char* things) {
  if (summary.failed == 0) {
    return;
  }
  std::fflush(stdout);
  const std::string line = fmt::format("gentrain: {} of {} {} could not be read; the first: {}\n",
                                       summary.failed, summary.items, things, summary.first_error);
  std::fwrite(line.data(), 1, line.size(), stderr);
}

int predict_pictures(trainers::ModelAtWork& at_work, comm::Communicator& communicator,
                     const PicturePredictions& what) {
  const trainers::OpenedModel& model = at_work.model();
  const trainers::PredictionWork work(model, read_picture);
  at_work.check_same_on_all_ranks(true);
  const bool prints = communicator.rank() == 0;
  std::unique_ptr<PictureNames> names;
  std::unique_ptr<Rows> rows;
  if (prints) {
    names = std::make_unique<PictureNames>(what.names, what.most);
    rows = std::make_unique<Rows>(model, what, names->classes());
    fmt::print(stderr, "data: {}\n", names->description());
    for (const std::string& note : model.notes()) {
      fmt::print(stderr, "{}\n", note);
    }
    rows->begin();
  }
  const trainers::StreamSummary summary = trainers::stream(
      communicator, at_work.runner(),
      [&](const std::stop_token& stop) { return names->next(stop); }, work, what.batch,
      [&](const StreamRow& row) { rows->row(row); });
  if (prints && summary.items == 0) {
    throw IoError(
        fmt::format("there is nothing to predict: {} names no pictures", names->description()));
  }
  if (prints) {
    tell_failures(summary, "pictures");
  }
  communicator.barrier();
  return summary.failed == summary.items ? kBadFile : kSuccess;
}

}  // namespace gentrain::jobs
