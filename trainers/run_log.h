// What a run prints: rank 0 to the terminal and to the run's log.txt, errors of every rank.
#pragma once

#include <filesystem>
#include <string>

namespace gentrain::trainers {

/// Sets up printing: from `level` on ("debug", "info", "warning", "error", "off") on rank 0, errors
/// alone on the others. Throws JobError for an unknown level.
void start_log(const std::string& level, int rank);

/// From here on what is printed goes to this file too, behind what stands there if `append`. Throws
/// IoError.
void log_to_file(const std::filesystem::path& path, bool append);
/// From here on it goes to the terminal alone.
void leave_log_file();

/// Warns if the workers of this rank waited for images for more than a tenth of their time.
///
/// waited   seconds, over all workers (data::Loader::waited())
/// seconds  of all steps
void warn_of_waiting(double waited, int workers, double seconds);

}  // namespace gentrain::trainers
