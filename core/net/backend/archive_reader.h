// Reading archives by libarchive: the part of the module that knows it.
#pragma once

#include <string>

#include "core/net/library.h"

namespace gentrain::net {

/// As NetLibrary::read_archive().
void read_archive_entries(const std::string& path, ArchiveVisitor& visitor);

/// "libarchive 3.6.2"
std::string archive_version();

}  // namespace gentrain::net
