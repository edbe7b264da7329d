// Classes of images by patterns over their paths, for folders that are sorted in another way.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/image/folder.h"
#include "trainers/options.h"

namespace gentrain::trainers {

/// Paths of all images below a folder, at any depth, sorted by their bytes: "train/cats/1.jpg". By
/// name, and what is passed over, as image::list_images(); links are followed.
///
/// Throws IoError naming the folder: missing, no folder, unreadable, nested more than 32 deep.
std::vector<std::string> images_below(const std::filesystem::path& folder);

/// The images below a folder whose paths match a class's pattern; * stands for any characters,
/// slashes among them. Classes in the order of their names' bytes, as those of folders; others are
/// passed over.
///
/// Throws IoError as images_below(), and naming the folder if it holds no images; JobError naming
/// where a pattern stands that matches none of them (and paths near it), and for an image that
/// matches the patterns of two classes.
image::Listing list_by_patterns(const std::filesystem::path& folder,
                                std::span<const ClassPattern> classes);

}  // namespace gentrain::trainers
