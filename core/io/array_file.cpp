// The user block is 512 bytes of text padded with zeros: a magic line, the format, the length of
// the file and the SHA-256 of everything behind the block. Behind it an HDF5 file: /header and
// /order (JSON texts), a group with one dataset (f32; in packs u8 and i32 too) per array and its
// hash as attribute `sha256`. It is built in memory, without times, so that the same arrays give
// the same bytes.
#include "core/io/array_file.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/io/array_layout.h"
#include "core/io/atomic_file.h"
#include "core/io/hdf5_walk.h"
#include "core/io/sha256.h"
#include "kernels/error.h"

namespace gentrain::io {
namespace {

constexpr int kMaxJsonDepth = 64;

struct KindTraits {
  const char* name;
  std::string_view magic;  // first line
  const char* purpose;     // what to do with one that came in another's place
};

constexpr std::array<KindTraits, 3> kKinds = {{
    {"model", "gentrain model\n", "eval, predict and init_from take it"},
    {"checkpoint", "gentrain checkpoint\n", "a run is resumed from it"},
    {"pack", "gentrain pack\n", "data.folder and data.test_folder take it"},
}};

const KindTraits& traits(FileKind kind) {
  return kKinds.at(static_cast<std::size_t>(kind));
}

std::span<const std::byte> behind_block(const Bytes& file) {
  return std::as_bytes(std::span(file.data.get(), file.size)).subspan(kUserBlock);
}

// ---- the user block ---------------------------------------------------------------------------

struct UserBlock {
  FileKind kind = FileKind::kModel;
  int format = kArrayFormat;
  std::size_t bytes = 0;
  std::string sha256;
};

std::string render(const UserBlock& block) {
  std::string text = fmt::format("{}format {}\nbytes {}\nsha256 {}\n", traits(block.kind).magic,
                                 block.format, block.bytes, block.sha256);
  text.resize(kUserBlock, '\0');
  return text;
}

// What is wrong with a file as a whole, and what was found out on the way.
struct Verdict {
  std::optional<std::string> wrong;
  std::optional<FileKind> kind;  // told by the magic line
  bool hash_differs = false;     // all else is right
};

std::string begins_with_no_magic(std::optional<FileKind> wanted) {
  if (wanted) {
    return fmt::format("is no gentrain {0} (it does not begin with the line 'gentrain {0}')",
                       name_of(*wanted));
  }
  return "is no file of gentrain (it begins with none of 'gentrain model', 'gentrain checkpoint' "
         "and "
         "'gentrain pack')";
}

std::optional<FileKind> kind_of(std::string_view text) {
  for (const FileKind kind : {FileKind::kModel, FileKind::kCheckpoint, FileKind::kPack}) {
    if (text.starts_with(traits(kind).magic)) {
      return kind;
    }
  }
  return std::nullopt;
}

// Hash aside, what is wrong with a file that begins with the magic line of `block.kind`; fills the
// block.
std::optional<std::string> block_damage(std::size_t size, const std::string& text,
                                        UserBlock& block) {
  if (size < kUserBlock) {
    return fmt::format("is truncated: {} bytes, the first block alone has {}", size, kUserBlock);
  }
  std::array<char, 65> hash{};
  // c_str() ends at the padding at the latest.
  if (std::sscanf(text.c_str() + traits(block.kind).magic.size(),
                  "format %d\nbytes %zu\nsha256 %64s", &block.format, &block.bytes,
                  hash.data()) < 1) {
    return "is damaged: its first block names no format";
  }
  if (block.format > kArrayFormat) {
    return fmt::format("has format {}, this program reads formats up to {}: take a newer gentrain",
                       block.format, kArrayFormat);
  }
  block.sha256 = hash.data();
  if (render(block) != text) {
    return "is damaged: its first block is not as it was written";
  }
  if (size < block.bytes) {
    return fmt::format("is truncated: {} bytes of {}", size, block.bytes);
  }
  if (size > block.bytes) {
    return fmt::format("has {} bytes behind its end at {}", size - block.bytes, block.bytes);
  }
  return std::nullopt;
}

// The hash is looked at last.
Verdict judge(const Bytes& file, std::optional<FileKind> wanted) {
  Verdict verdict;
  const std::string text(reinterpret_cast<const char*>(file.data.get()),
                         std::min(file.size, kUserBlock));
  verdict.kind = kind_of(text);
  if (!verdict.kind) {
    verdict.wrong = begins_with_no_magic(wanted);
    return verdict;
  }
  if (wanted && *verdict.kind != *wanted) {
    verdict.wrong = fmt::format("is a {}, no {}: {}", name_of(*verdict.kind), name_of(*wanted),
                                traits(*verdict.kind).purpose);
    return verdict;
  }
  UserBlock block;
  block.kind = *verdict.kind;
  verdict.wrong = block_damage(file.size, text, block);
  if (!verdict.wrong) {
    const std::string found = sha256(behind_block(file));
    if (found != block.sha256) {
      verdict.hash_differs = true;
      verdict.wrong =
          fmt::format("is damaged: its SHA-256 is {}, written was {}", found, block.sha256);
    }
  }
  return verdict;
}

// The kind of a file with nothing wrong; throws otherwise.
FileKind kind_of_whole(const std::string& name, const Verdict& verdict) {
  if (verdict.wrong) {
    throw IoError(fmt::format("{} {}", name, *verdict.wrong));
  }
  return *verdict.kind;
}

// ---- reading ----------------------------------------------------------------------------------

nlohmann::json read_json(const Hdf5Walk& file, const char* name) {
  const StoredDataset set = file.dataset(name);
  if (set.type != StoredDataset::Type::kText || !set.extents.empty()) {
    throw IoError(fmt::format("{}: no single text", name));
  }
  const auto* const text = reinterpret_cast<const char*>(set.content.data());
  const auto shallow = [&](int depth, nlohmann::json::parse_event_t, const nlohmann::json&) {
    if (depth > kMaxJsonDepth) {
      throw IoError(fmt::format("{}: nested more than {} levels deep", name, kMaxJsonDepth));
    }
    return true;
  };
  try {
    return nlohmann::json::parse(text, text + set.content.size(), shallow);
  } catch (const nlohmann::json::exception& error) {
    throw IoError(fmt::format("{}: {}", name, error.what()));
  }
}

std::vector<std::string> read_order(const Hdf5Walk& file) {
  const nlohmann::json order = read_json(file, "order");
  if (!order.is_array() ||
      !std::all_of(order.begin(), order.end(), [](const auto& name) { return name.is_string(); })) {
    throw IoError("order: no list of names");
  }
  auto names = order.get<std::vector<std::string>>();
  std::set<std::string_view> seen;
  for (const std::string& name : names) {
    if (!seen.insert(name).second) {
      throw IoError(fmt::format("order: {} is there twice", name));
    }
  }
  return names;
}

std::optional<ElementType> element_of(StoredDataset::Type type) {
  switch (type) {
    case StoredDataset::Type::kFloat:
      return ElementType::kF32;
    case StoredDataset::Type::kByte:
      return ElementType::kU8;
    case StoredDataset::Type::kInt:
      return ElementType::kI32;
    case StoredDataset::Type::kText:
      break;
  }
  return std::nullopt;
}

// Models and checkpoints hold f32 alone.
ArrayView view_of(FileKind kind, const std::string& name, const StoredDataset& set) {
  const std::optional<ElementType> type = element_of(set.type);
  const bool wanted = type && (kind == FileKind::kPack || *type == ElementType::kF32);
  if (!wanted || set.extents.size() > Shape::kMaxRank) {
    throw IoError(fmt::format("{}: no array of {} with up to six extents", name,
                              kind == FileKind::kPack ? "f32, u8 or i32" : "f32"));
  }
  try {
    return {name, Shape(std::vector<std::int64_t>(set.extents.begin(), set.extents.end())), *type,
            set.content};
  } catch (const ShapeError& error) {
    throw IoError(fmt::format("{}: {}", name, error.what()));
  }
}

std::string path_of(FileKind kind, const std::string& name) {
  return fmt::format("{}/{}", group_of(kind), name);
}

// One array; throws if its hash is not the one stored beside it.
ArrayView read_view(FileKind kind, const std::string& name, const StoredDataset& set) {
  ArrayView array = view_of(kind, name, set);
  if (const std::string found = sha256(set.content); found != set.sha256) {
    throw IoError(fmt::format("{}: its SHA-256 is {}, written was {}", name, found, set.sha256));
  }
  return array;
}

NamedArray copy_of(const ArrayView& view) {
  NamedArray array{view.name, view.shape, {}};
  array.values.resize(view.bytes.size() / sizeof(float));
  std::copy_n(view.bytes.data(), view.bytes.size(),
              std::as_writable_bytes(std::span(array.values)).data());
  return array;
}

// Otherwise a small file could ask for any amount of memory.
void require_apart(std::vector<std::pair<StoredDataset, std::string>> sets) {
  std::ranges::sort(sets, {}, [](const auto& set) { return set.first.content.data(); });
  for (std::size_t i = 1; i < sets.size(); ++i) {
    const std::span<const std::byte> before = sets[i - 1].first.content;
    const std::span<const std::byte> content = sets[i].first.content;
    if (!content.empty() && before.data() + before.size() > content.data()) {
      throw IoError(
          fmt::format("{} and {} lie on one another", sets[i - 1].second, sets[i].second));
    }
  }
}

ArrayViews read_content(const Bytes& bytes, FileKind kind) {
  const Hdf5Walk file(behind_block(bytes));
  ArrayViews content;
  content.kind = kind;
  content.header = read_json(file, "header");
  const std::vector<std::string> names = read_order(file);
  std::vector<std::pair<StoredDataset, std::string>> sets;
  sets.reserve(names.size());
  for (const std::string& name : names) {
    sets.emplace_back(file.dataset(path_of(kind, name)), name);
  }
  require_apart(sets);
  for (const auto& [set, name] : sets) {
    content.arrays.push_back(read_view(kind, name, set));
  }
  return content;
}

// A line for every array of a file, damaged elsewhere or not, that cannot be read as it was
// written.
std::vector<std::string> damaged_arrays(const Bytes& bytes, FileKind kind,
                                        const std::string& path) {
  std::vector<std::string> lines;
  try {
    const Hdf5Walk file(behind_block(bytes));
    for (const std::string& name : read_order(file)) {
      try {
        read_view(kind, name, file.dataset(path_of(kind, name)));
      } catch (const IoError& error) {
        lines.push_back(fmt::format("{}: array {}", path, error.what()));
      }
    }
  } catch (const IoError& error) {
    lines.push_back(fmt::format("{}: the arrays cannot be told apart: {}", path, error.what()));
  }
  return lines;
}

}  // namespace

std::size_t bytes_of(ElementType type) {
  return type == ElementType::kU8 ? 1 : 4;
}

const NamedArray* find_array(std::span<const NamedArray> arrays, std::string_view name) {
  const auto found = std::ranges::find(arrays, name, &NamedArray::name);
  return found == arrays.end() ? nullptr : &*found;
}

const char* name_of(FileKind kind) {
  return traits(kind).name;
}

// ---- writing ----------------------------------------------------------------------------------

void write_array_views(const std::filesystem::path& path, const ArrayViews& file,
                       const std::function<void()>& before_rename) {
  ArrayLayout layout;
  try {
    layout = lay_out(file);
  } catch (const IoError& error) {
    throw IoError(fmt::format("cannot write {}: {}", path.string(), error.what()));
  }
  UserBlock block;
  block.kind = file.kind;
  block.bytes = kUserBlock;
  Sha256 hash;
  for (const std::string_view piece : layout.pieces) {
    hash.update(piece.data(), piece.size());
    block.bytes += piece.size();
  }
  block.sha256 = hash.finish();
  const std::string text = render(block);
  layout.pieces.insert(layout.pieces.begin(), text);
  write_file_atomically(path, layout.pieces, before_rename);
}

void write_array_file(const std::filesystem::path& path, const ArrayFile& file,
                      const std::function<void()>& before_rename) {
  ArrayViews views{file.kind, file.header, {}};
  views.arrays.reserve(file.arrays.size());
  for (const NamedArray& array : file.arrays) {
    views.arrays.push_back(view_of(array));
  }
  write_array_views(path, views, before_rename);
}

ArrayFile read_array_file(const std::filesystem::path& path, FileKind kind) {
  return parse_array_file(path.string(), read_file(path), kind);
}

ArrayFile parse_array_file(const std::string& name, const Bytes& bytes,
                           std::optional<FileKind> kind) {
  const FileKind found = kind_of_whole(name, judge(bytes, kind));
  try {
    if (found == FileKind::kPack) {
      throw IoError("it is a pack of images, which holds no weights");
    }
    ArrayViews views = read_content(bytes, found);
    ArrayFile file{found, std::move(views.header), {}};
    std::ranges::transform(views.arrays, std::back_inserter(file.arrays), copy_of);
    return file;
  } catch (const IoError& error) {
    throw IoError(fmt::format("cannot read {}: {}", name, error.what()));
  }
}

ArrayViews view_array_file(const std::string& name, const Bytes& bytes,
                           std::optional<FileKind> kind) {
  const Verdict verdict = judge(bytes, kind);
  if (verdict.hash_differs) {
    const std::vector<std::string> lines = damaged_arrays(bytes, *verdict.kind, name);
    throw IoError(lines.empty() ? name + " is damaged between its arrays"
                                : fmt::format("{}", fmt::join(lines, "; ")));
  }
  const FileKind found = kind_of_whole(name, verdict);
  try {
    return read_content(bytes, found);
  } catch (const IoError& error) {
    throw IoError(fmt::format("cannot read {}: {}", name, error.what()));
  }
}

bool begins_as(const std::filesystem::path& path, FileKind kind) {
  if (std::error_code ignored; !std::filesystem::is_regular_file(path, ignored)) {
    return false;
  }
  const std::string_view magic = traits(kind).magic;
  std::string text(magic.size(), '\0');
  PosixFile file(path, O_RDONLY);
  return file.read(text.data(), text.size()) == text.size() && text == magic;
}

std::vector<std::string> verify_array_file(const std::filesystem::path& path) {
  std::vector<std::string> lines;
  try {
    const Bytes bytes = read_file(path);
    const Verdict verdict = judge(bytes, std::nullopt);
    if (verdict.wrong) {
      lines.push_back(fmt::format("{} {}", path.string(), *verdict.wrong));
    }
    if (!verdict.wrong || verdict.hash_differs) {
      const std::vector<std::string> arrays = damaged_arrays(bytes, *verdict.kind, path.string());
      lines.insert(lines.end(), arrays.begin(), arrays.end());
      if (arrays.empty() && verdict.hash_differs) {
        lines.push_back(path.string() + ": all arrays are whole; the damage lies between them");
      }
    }
  } catch (const IoError& error) {
    lines.emplace_back(error.what());
  }
  return lines;
}

}  // namespace gentrain::io
