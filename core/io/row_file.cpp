// Growing arrays are chunked; no time stamps are kept and chunks begin as zeros, so that equal
// calls give equal bytes.
#include "core/io/row_file.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <hdf5.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "core/io/hdf5.h"
#include "core/io/posix_file.h"
#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::io {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kChunkBytes = std::int64_t{256} << 10;
constexpr std::int64_t kMostRowsOfChunk = 1024;
constexpr std::size_t kRankOfFile = Shape::kMaxRank + 1;

using Extents = std::array<hsize_t, kRankOfFile>;

/// In the folder of `path`, and of no other writer.
fs::path temporary_of(const fs::path& path) {
  static std::atomic<int> counter{0};
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  return folder /
         fmt::format(".{}.{}-{}.tmp", path.filename().string(), ::getpid(), counter.fetch_add(1));
}

std::string as_utf8(const std::string& text) {
  const std::string quoted =
      nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return nlohmann::json::parse(quoted).get<std::string>();
}

Hdf5Handle text_type(const std::string& where) {
  Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose, where);
  check_hdf5(H5Tset_size(type.get(), H5T_VARIABLE), where);
  check_hdf5(H5Tset_cset(type.get(), H5T_CSET_UTF8), where);
  return type;
}

/// An array that grows.
struct Growing {
  std::string where;
  Hdf5Handle array;
  Hdf5Handle type;  // of an element in memory
  int rank = 1;
  Extents extents{};  // of the rows that are written; the first grows
  std::int64_t row_elements = 1;
  std::size_t chunk_rows = 1;
  std::size_t kept = 0;  // rows that wait for the rest of their chunk: in one of these
  std::vector<std::byte> bytes;
  std::vector<std::string> texts;
  std::size_t text_bytes = 0;

  /// Writes the rows that wait.
  void flush() {
    if (kept == 0) {
      return;
    }
    std::vector<const char*> begins;
    for (const std::string& text : texts) {
      begins.push_back(text.c_str());
    }
    Extents first{extents[0]};
    extents[0] += kept;
    check_hdf5(H5Dset_extent(array.get(), extents.data()), where);
    Extents part = extents;
    part[0] = kept;
    const Hdf5Handle space(H5Dget_space(array.get()), H5Sclose, where);
    check_hdf5(H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, first.data(), nullptr, part.data(),
                                   nullptr),
               where);
    const Hdf5Handle memory(H5Screate_simple(rank, part.data(), nullptr), H5Sclose, where);
    const void* const rows = texts.empty() ? static_cast<const void*>(bytes.data()) : begins.data();
    check_hdf5(H5Dwrite(array.get(), type.get(), memory.get(), space.get(), H5P_DEFAULT, rows),
               where);
    progress::tick();
    bytes.clear();
    texts.clear();
    text_bytes = 0;
    kept = 0;
  }

  /// A row is in `bytes` or `texts`.
  void added() {
    if (++kept == chunk_rows || text_bytes >= static_cast<std::size_t>(kChunkBytes)) {
      const Hdf5Lock lock;
      flush();
    }
  }
  void add(const void* row, std::size_t size) {
    const auto* const begin = static_cast<const std::byte*>(row);
    bytes.insert(bytes.end(), begin, begin + size);
    added();
  }
};

}  // namespace

struct RowFileWriter::State {
  fs::path path;
  fs::path temporary;
  Hdf5Handle file;
  std::vector<Growing> arrays;

  int add(const std::string& name, const Shape& row, hid_t stored, Hdf5Handle type) {
    Growing growing;
    growing.where = fmt::format("{}: /{}", path.string(), name);
    const std::string& where = growing.where;
    growing.rank = row.rank() + 1;
    growing.row_elements = row.elements();
    Extents chunk{};
    Extents most{H5S_UNLIMITED};
    const auto row_bytes =
        std::max<std::int64_t>(1, row.elements() * static_cast<std::int64_t>(H5Tget_size(stored)));
    chunk[0] = static_cast<hsize_t>(
        std::clamp<std::int64_t>(kChunkBytes / row_bytes, 1, kMostRowsOfChunk));
    growing.chunk_rows = chunk[0];
    for (int axis = 0; axis < row.rank(); ++axis) {
      const auto at = static_cast<std::size_t>(axis) + 1;
      growing.extents.at(at) = chunk.at(at) = most.at(at) = static_cast<hsize_t>(row[axis]);
    }
    const Hdf5Handle space(H5Screate_simple(growing.rank, growing.extents.data(), most.data()),
                           H5Sclose, where);
    const Hdf5Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, where);
    check_hdf5(H5Pset_chunk(creation.get(), growing.rank, chunk.data()), where);
    check_hdf5(H5Pset_obj_track_times(creation.get(), false), where);
    check_hdf5(H5Pset_fill_time(creation.get(), H5D_FILL_TIME_ALLOC), where);
    const Hdf5Handle link(H5Pcreate(H5P_LINK_CREATE), H5Pclose, where);
    check_hdf5(H5Pset_create_intermediate_group(link.get(), 1), where);
    growing.array = Hdf5Handle(H5Dcreate2(file.get(), name.c_str(), stored, space.get(), link.get(),
                                          creation.get(), H5P_DEFAULT),
                               H5Dclose, where);
    growing.type = std::move(type);
    arrays.push_back(std::move(growing));
    return static_cast<int>(arrays.size()) - 1;
  }
};

RowFileWriter::RowFileWriter(const fs::path& path) : state_(std::make_unique<State>()) {
  const Hdf5Lock lock;
  state_->path = path;
  const fs::path temporary = temporary_of(path);
  {
    const PosixFile probe(temporary, O_WRONLY | O_CREAT | O_EXCL, 0666);  // names the reason
  }
  state_->temporary = temporary;
  const std::string where = "cannot write " + path.string();
  try {
    state_->file = Hdf5Handle(H5Fcreate(temporary.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT),
                              H5Fclose, where);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
}

RowFileWriter::~RowFileWriter() {
  const Hdf5Lock lock;
  state_->arrays.clear();
  state_->file = Hdf5Handle();
  if (!state_->temporary.empty()) {
    ::unlink(state_->temporary.c_str());
  }
}

int RowFileWriter::add_floats(const std::string& name, const Shape& row) {
  const Hdf5Lock lock;
  return state_->add(name, row, H5T_IEEE_F32LE,
                     Hdf5Handle(H5Tcopy(H5T_NATIVE_FLOAT), H5Tclose, name));
}

int RowFileWriter::add_integers(const std::string& name) {
  const Hdf5Lock lock;
  return state_->add(name, {}, H5T_STD_I32LE,
                     Hdf5Handle(H5Tcopy(H5T_NATIVE_INT32), H5Tclose, name));
}

int RowFileWriter::add_texts(const std::string& name) {
  const Hdf5Lock lock;
  Hdf5Handle type = text_type(name);
  const hid_t stored = type.get();
  return state_->add(name, {}, stored, std::move(type));
}

void RowFileWriter::append(int array, std::span<const float> row) {
  Growing& to = state_->arrays.at(static_cast<std::size_t>(array));
  if (std::ssize(row) != to.row_elements) {
    throw IoError(fmt::format("{}: a row of {} numbers where {} are needed", to.where, row.size(),
                              to.row_elements));
  }
  to.add(row.data(), row.size_bytes());
}

void RowFileWriter::append(int array, std::int32_t value) {
  state_->arrays.at(static_cast<std::size_t>(array)).add(&value, sizeof value);
}

void RowFileWriter::append(int array, const std::string& text) {
  Growing& to = state_->arrays.at(static_cast<std::size_t>(array));
  to.texts.push_back(as_utf8(text));
  to.text_bytes += to.texts.back().size();
  to.added();
}

void RowFileWriter::set_attribute(const std::string& name, const std::string& text) {
  const Hdf5Lock lock;
  const std::string where = fmt::format("{}: attribute {}", state_->path.string(), name);
  const std::string valid = as_utf8(text);
  const Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose, where);
  check_hdf5(H5Tset_size(type.get(), std::max<std::size_t>(valid.size(), 1)), where);
  check_hdf5(H5Tset_cset(type.get(), H5T_CSET_UTF8), where);
  const Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose, where);
  const Hdf5Handle attribute(H5Acreate2(state_->file.get(), name.c_str(), type.get(), space.get(),
                                        H5P_DEFAULT, H5P_DEFAULT),
                             H5Aclose, where);
  check_hdf5(H5Awrite(attribute.get(), type.get(), valid.c_str()), where);
}

void RowFileWriter::commit() {
  const Hdf5Lock lock;
  const std::string where = "cannot write " + state_->path.string();
  for (Growing& array : state_->arrays) {
    array.flush();
  }
  state_->arrays.clear();
  check_hdf5(H5Fflush(state_->file.get(), H5F_SCOPE_GLOBAL), where);
  state_->file = Hdf5Handle();
  {
    const progress::Flush flush;
    PosixFile(state_->temporary, O_RDONLY).sync();
  }
  std::error_code error;
  fs::rename(state_->temporary, state_->path, error);
  if (error) {
    throw IoError(fmt::format("{}: {}", where, error.message()));
  }
  state_->temporary.clear();
  sync_folder(state_->path.has_parent_path() ? state_->path.parent_path() : fs::path("."));
}

// ---- reading ----------------------------------------------------------------------------------

struct RowFileReader::State {
  struct Array {
    std::string where;
    Hdf5Handle array;
    Hdf5Handle space;
    int rank = 0;
    Extents extents{};
    Shape row;
  };
  Hdf5Handle file;
  std::vector<Array> arrays;

  void open(const std::string& path, const std::string& name) {
    Array opened;
    opened.where = fmt::format("{}: /{}", path, name);
    const std::string& where = opened.where;
    if (H5Lexists(file.get(), name.c_str(), H5P_DEFAULT) <= 0) {
      throw IoError(where + ": there is no such array");
    }
    opened.array = Hdf5Handle(H5Dopen2(file.get(), name.c_str(), H5P_DEFAULT), H5Dclose, where);
    opened.space = Hdf5Handle(H5Dget_space(opened.array.get()), H5Sclose, where);
    const Hdf5Handle type(H5Dget_type(opened.array.get()), H5Tclose, where);
    const H5T_class_t kind = H5Tget_class(type.get());
    if (kind != H5T_FLOAT && kind != H5T_INTEGER) {
      throw IoError(where + ": its elements are no numbers");
    }
    opened.rank = H5Sget_simple_extent_ndims(opened.space.get());
    if (opened.rank < 1 || opened.rank > Shape::kMaxRank) {
      throw IoError(fmt::format("{}: it has {} extents, 1 to {} are needed", where, opened.rank,
                                Shape::kMaxRank));
    }
    check_hdf5(H5Sget_simple_extent_dims(opened.space.get(), opened.extents.data(), nullptr),
               where);
    std::vector<std::int64_t> row(opened.extents.begin() + 1, opened.extents.begin() + opened.rank);
    try {
      opened.row = Shape(row);
    } catch (const ShapeError& error) {
      throw IoError(fmt::format("{}: {}", where, error.what()));
    }
    arrays.push_back(std::move(opened));
  }
};

RowFileReader::RowFileReader(const fs::path& path, const std::vector<std::string>& arrays)
    : state_(std::make_unique<State>()) {
  {
    const PosixFile probe(path, O_RDONLY);  // names the reason
    probe.require_regular();
  }
  const Hdf5Lock lock;
  state_->file =
      Hdf5Handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose, path.string());
  try {
    for (const std::string& name : arrays) {
      state_->open(path.string(), name);
    }
  } catch (...) {
    state_.reset();  // under the lock
    throw;
  }
}

RowFileReader::~RowFileReader() {
  const Hdf5Lock lock;
  state_.reset();
}

std::int64_t RowFileReader::rows(std::size_t array) const {
  return static_cast<std::int64_t>(state_->arrays.at(array).extents[0]);
}

const Shape& RowFileReader::row_shape(std::size_t array) const {
  return state_->arrays.at(array).row;
}

void RowFileReader::read(std::size_t array, std::int64_t index, std::span<float> values) const {
  const State::Array& from = state_->arrays.at(array);
  if (index < 0 || index >= rows(array) || std::ssize(values) != from.row.elements()) {
    throw IoError(fmt::format("{}: row {} of {} into {} numbers", from.where, index, rows(array),
                              values.size()));
  }
  const Hdf5Lock lock;
  Extents first{static_cast<hsize_t>(index)};
  Extents one = from.extents;
  one[0] = 1;
  check_hdf5(H5Sselect_hyperslab(from.space.get(), H5S_SELECT_SET, first.data(), nullptr,
                                 one.data(), nullptr),
             from.where);
  const Hdf5Handle memory(H5Screate_simple(from.rank, one.data(), nullptr), H5Sclose, from.where);
  check_hdf5(H5Dread(from.array.get(), H5T_NATIVE_FLOAT, memory.get(), from.space.get(),
                     H5P_DEFAULT, values.data()),
             from.where);
}

}  // namespace gentrain::io
