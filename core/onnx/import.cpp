// import_onnx and import_model: a file, its hash and what is in it.
#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>

#include "core/graph/imported.h"
#include "core/io/posix_file.h"
#include "core/io/sha256.h"
#include "core/onnx/importer.h"
#include "kernels/error.h"

namespace gentrain::graph {
namespace {

constexpr std::array<std::uint8_t, 8> kHdf5 = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
constexpr std::array<std::uint8_t, 4> kZip = {'P', 'K', 3, 4};
// Tags of the fields of a ModelProto up to 15, by number and form: ir_version, producer_name,
// producer_version, domain, model_version, doc_string, graph, opset_import, metadata_props.
constexpr std::array<std::uint8_t, 9> kOnnx = {0x08, 0x12, 0x1a, 0x22, 0x28,
                                               0x32, 0x3a, 0x42, 0x72};
constexpr std::size_t kMostBytes = std::size_t{1} << 31;

io::Bytes read_whole(const std::filesystem::path& path) {
  const io::PosixFile file(path, O_RDONLY | O_NONBLOCK);  // a pipe would wait for its writer
  file.require_regular();
  if (file.size() >= kMostBytes) {
    throw IoError(
        fmt::format("{}: it has {} bytes, an ONNX model is smaller than 2 GiB, with "
                    "larger weights in files beside it",
                    path.string(), file.size()));
  }
  return io::read_file(path);
}

template <std::size_t size>
bool begins_with(std::span<const std::uint8_t> bytes, const std::array<std::uint8_t, size>& with) {
  return bytes.size() >= size && std::equal(with.begin(), with.end(), bytes.begin());
}

}  // namespace

ImportedModel import_onnx(const std::filesystem::path& path) {
  const onnx::OnnxLibrary& library = onnx::onnx_library();
  io::Bytes file = read_whole(path);
  const std::span<const std::uint8_t> bytes(file.data.get(), file.size);
  const std::string hash = io::sha256(std::as_bytes(bytes));
  try {
    onnx::Model model = library.parse(bytes);
    file.data.reset();
    onnx::Importer importer(std::move(model), path.parent_path(),
                            static_cast<std::int64_t>(file.size));
    ImportedModel imported = importer.run();
    const std::string external = importer.external_hash();
    const std::string both = hash + external;
    imported.sha256 = external.empty() ? hash : io::sha256(std::as_bytes(std::span(both)));
    return imported;
  } catch (const DeviceError&) {
    throw;
  } catch (const Error& error) {
    throw IoError(fmt::format("{}: {}", path.string(), error.what()));
  }
}

ImportedModel import_model(const std::filesystem::path& path) {
  std::array<std::uint8_t, 8> head{};
  io::PosixFile file(path, O_RDONLY | O_NONBLOCK);
  file.require_regular();
  const std::size_t size = file.read(head.data(), head.size());
  const std::span<const std::uint8_t> bytes(head.data(), size);
  if (begins_with(bytes, kHdf5) || begins_with(bytes, kZip)) {
    return import_keras(path);
  }
  if (size == 0) {
    throw IoError(fmt::format("{}: the file is empty, no model", path.string()));
  }
  if (std::find(kOnnx.begin(), kOnnx.end(), head[0]) == kOnnx.end()) {
    throw IoError(
        fmt::format("{}: this is neither a model of Keras (HDF5 or .keras) nor an ONNX "
                    "model",
                    path.string()));
  }
  return import_onnx(path);
}

}  // namespace gentrain::graph
