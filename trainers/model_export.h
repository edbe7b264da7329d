// Opened models on their way into files of other frameworks.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "trainers/opened_model.h"

namespace gentrain::trainers {

enum class ExportFormat : std::uint8_t { kKeras, kOnnx };

/// By the ending of a file's name: .h5 or .hdf5, .onnx. Throws JobError for another one.
ExportFormat export_format_of(const std::filesystem::path& path);

/// Writes the network with its weights; a file that is there is replaced. It takes and gives what
/// the model's inputs and outputs are, in the order of axes of the model's own file. What compute()
/// does before the graph is part of it, what becomes of pixels before compute() is not.
///
/// version: of gentrain, noted in the file
///
/// Throws JobError naming a model that is no graph, and as graph::export_keras() and
/// graph::export_onnx().
void export_model(const OpenedModel& model, Queue& queue, const std::filesystem::path& path,
                  const std::string& version);

/// What the caller of an exported network does with pixels 0 to 255: "x / 127.5 - 1, RGB". Empty of
/// a model that takes no pictures.
std::string pixels_taken(const OpenedModel& model);

}  // namespace gentrain::trainers
