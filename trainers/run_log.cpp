// Printing through spdlog's default logger.
#include "trainers/run_log.h"

#include <array>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "kernels/error.h"

namespace gentrain::trainers {

void start_log(const std::string& level, int rank) {
  constexpr std::array<std::string_view, 5> kLevels = {"debug", "info", "warning", "error", "off"};
  const auto known = spdlog::level::from_str(level);
  if (known == spdlog::level::off && level != "off") {
    throw JobError(
        fmt::format("--log-level: there is no '{}' (known: {})", level, fmt::join(kLevels, ", ")));
  }
  auto sink = std::make_shared<spdlog::sinks::stdout_sink_mt>();
  sink->set_pattern("%v");
  auto logger = std::make_shared<spdlog::logger>("gentrain", sink);
  logger->set_level(rank == 0 ? known : std::max(known, spdlog::level::err));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(logger);
}

void log_to_file(const std::filesystem::path& path, bool append) {
  try {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path.string(), !append);
    sink->set_pattern("%Y-%m-%d %H:%M:%S  %v");
    spdlog::default_logger()->sinks().push_back(sink);
  } catch (const spdlog::spdlog_ex& error) {
    throw IoError(fmt::format("{} cannot be written to: {}", path.string(), error.what()));
  }
}

void leave_log_file() {
  spdlog::default_logger()->sinks().resize(1);
}

void warn_of_waiting(double waited, int workers, double seconds) {
  constexpr double kBearable = 0.1;
  const double share = seconds > 0 ? waited / (workers * seconds) : 0;
  if (share > kBearable) {
    spdlog::warn(
        "reading did not keep up: workers waited for images {:.0f} % of the time; a pack of images "
        "of the right size (gentrain pack) is read without decoding",
        100 * share);
  }
}

}  // namespace gentrain::trainers
