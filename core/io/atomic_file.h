// Files that appear whole or not at all: temporary name in the same folder, fsync, rename, fsync of
// the folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

namespace gentrain::io {

class PosixFile;

/// Whether what is written is to be there after a crash of the machine.
enum class Sync : std::uint8_t { kYes, kNo };

/// One such file, written a piece at a time; without commit() nothing of it stays. Errors are
/// IoErrors that name path, step and reason.
class AtomicWriter {
 public:
  explicit AtomicWriter(std::filesystem::path path);
  ~AtomicWriter();
  AtomicWriter(const AtomicWriter&) = delete;
  AtomicWriter& operator=(const AtomicWriter&) = delete;

  void write(std::string_view piece);
  /// The file appears; the last call. See write_file_atomically().
  void commit(const std::function<void()>& before_rename = {}, Sync sync = Sync::kYes);

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  std::unique_ptr<PosixFile> file_;
};

/// Throws IoError naming path, step and reason; then what stood under the name is untouched, unless
/// the last step failed, the fsync of the folder: then the new content is there, but may be lost in
/// a crash of the machine. No temporary file stays.
///
/// before_rename   is called when the content is safe under its temporary name, right before the
///                 rename. What it throws comes out as it is; then nothing is renamed.
void write_file_atomically(const std::filesystem::path& path, std::string_view content,
                           const std::function<void()>& before_rename = {});
/// The same without fsync: for what is of no use after a crash of the machine, which may leave the
/// name with an empty file. After one of the process the content is there.
void replace_file(const std::filesystem::path& path, std::string_view content,
                  const std::function<void()>& before_rename = {});
/// As the first, for content in pieces that lie apart.
void write_file_atomically(const std::filesystem::path& path,
                           std::span<const std::string_view> pieces,
                           const std::function<void()>& before_rename = {});

/// Removes the temporary files that killed writers left in a folder, which need not exist. For one
/// who knows that nobody else writes there.
void remove_temporary_files(const std::filesystem::path& folder);

}  // namespace gentrain::io
