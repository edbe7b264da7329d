// Unpacking an archive that somebody else made: nothing of it may reach beyond its folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace gentrain::net {

/// What an archive may hold.
struct UnpackLimits {
  std::uint64_t entries = 200'000;
  std::uint64_t bytes = std::uint64_t{8} << 30;  // of all files, with those that are passed over
};

struct Unpacked {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
};

/// Unpacks a tar archive, plain or packed by gzip, into a folder, which must not be there yet. It
/// appears whole or not at all: until then it is FOLDER.unpacked, which a call that was killed
/// leaves and the next one begins anew.
///
/// inside  the folder in the archive that holds everything, and that `folder` takes the place of;
///         empty: all of the archive is taken as it is
///
/// Names that begin with "._", which macOS adds, are passed over. Owners, permissions and times are
/// not taken over. Throws IoError naming archive and entry: it is no archive or a damaged one; an
/// entry is a link or a device, lies outside of the folder, or comes twice; a limit is passed;
/// nothing is in it. Throws IoError if `folder` is there or cannot be written, or another process
/// is unpacking.
Unpacked unpack(const std::filesystem::path& archive, const std::filesystem::path& folder,
                const std::string& inside = "", const UnpackLimits& limits = {});

}  // namespace gentrain::net
