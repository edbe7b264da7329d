// Names of pictures. Lines come through poll(2), so that who waits for standard input can be
// stopped.
#include "jobs/cli/picture_names.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include "core/data/dataset.h"
#include "core/io/posix_file.h"
#include "core/net/download.h"
#include "kernels/error.h"

namespace gentrain::jobs {

namespace fs = std::filesystem;

namespace {

constexpr const char* kStandardInput = "-";
constexpr const char* kTestImages = "t10k-images-idx3-ubyte";
constexpr std::size_t kLongestLine = std::size_t{64} << 10;
constexpr std::size_t kLargestFile = std::size_t{64} << 20;  // as of URLs
constexpr int kLookMs = 100;

bool is_folder(const std::string& argument) {
  std::error_code error;
  return fs::is_directory(argument, error);
}

bool is_list(const std::string& argument) {
  return argument == kStandardInput || image::ending_of(argument) == ".txt";
}

}  // namespace

bool names_pictures(const std::string& argument) {
  if (argument == kStandardInput || net::is_url(argument)) {
    return true;
  }
  if (is_folder(argument)) {
    return !data::idx_exists(fs::path(argument) / kTestImages);
  }
  return is_list(argument) || image::has_image_name(argument);
}

/// The lines of a file or of standard input.
class PictureNames::Lines {
 public:
  explicit Lines(const std::string& list) : name_(list) {
    if (list == kStandardInput) {
      name_ = "standard input";
      descriptor_ = STDIN_FILENO;
      return;
    }
    descriptor_ = ::open(list.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor_ < 0) {
      fail("open");
    }
    owned_ = true;
  }
  ~Lines() {
    if (owned_) {
      ::close(descriptor_);
    }
  }
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;

  /// The next line that is a name; nothing at the end, or once it is to stop.
  std::optional<std::string> next(const std::stop_token& stop) {
    while (std::optional<std::string> line = next_line(stop)) {
      if (line->ends_with('\r')) {
        line->pop_back();
      }
      if (!line->empty() && !line->starts_with('#')) {
        return line;
      }
    }
    return std::nullopt;
  }

 private:
  std::optional<std::string> next_line(const std::stop_token& stop) {
    while (true) {
      const std::size_t end = buffer_.find('\n', at_);
      if (end != std::string::npos) {
        std::string line = buffer_.substr(at_, end - at_);
        at_ = end + 1;
        ++number_;
        return line;
      }
      buffer_.erase(0, at_);
      at_ = 0;
      if (buffer_.size() > kLongestLine) {
        throw IoError(fmt::format(
            "{}: line {} is longer than {} bytes: a path or URL on each line was expected", name_,
            number_ + 1, kLongestLine));
      }
      if (!fill(stop)) {
        std::string rest;
        std::swap(rest, buffer_);
        return rest.empty() || stop.stop_requested() ? std::nullopt : std::optional(rest);
      }
    }
  }

  /// More bytes into the buffer; false at the end, or once it is to stop.
  bool fill(const std::stop_token& stop) {
    pollfd waiting{descriptor_, POLLIN, 0};
    while (!stop.stop_requested()) {
      const int ready = ::poll(&waiting, 1, kLookMs);
      if (ready == 0 || (ready < 0 && errno == EINTR)) {
        continue;
      }
      std::array<char, 4096> piece{};
      const ssize_t count = ::read(descriptor_, piece.data(), piece.size());
      if (count < 0 && errno == EINTR) {
        continue;
      }
      if (count < 0) {
        fail("read");
      }
      buffer_.append(piece.data(), static_cast<std::size_t>(count));
      return count > 0;
    }
    return false;
  }

  [[noreturn]] void fail(const char* step) const {
    const int reason = errno;
    throw IoError(fmt::format("{}: {} failed: {}", name_, step, std::strerror(reason)));
  }

  std::string name_;
  int descriptor_ = -1;
  bool owned_ = false;
  std::string buffer_;
  std::size_t at_ = 0;       // of the next line in it
  std::int64_t number_ = 0;  // of lines that are read
};

PictureNames::PictureNames(const std::vector<std::string>& arguments,
                           std::optional<std::int64_t> most)
    : most_(most) {
  if (std::ranges::count(arguments, kStandardInput) > 1) {
    throw JobError("standard input, -, can be read once");
  }
  for (const std::string& argument : arguments) {
    if (!names_pictures(argument)) {
      throw JobError(
          fmt::format("'{}' names no pictures: image files (.jpg, .jpeg, .png, .bmp, .webp), "
                      "folders of them, lists (.txt), URLs and - do, several of them too",
                      argument));
    }
    Source& source = sources_.emplace_back(Source{argument, false, std::nullopt});
    if (!net::is_url(argument) && is_folder(argument)) {
      add_folder(source);
    } else if (!net::is_url(argument) && is_list(argument)) {
      source.is_list = true;
      if (argument != kStandardInput) {
        const io::PosixFile probe(argument, O_RDONLY);  // before anything is computed
      }
    }
  }
}

PictureNames::~PictureNames() = default;

void PictureNames::add_folder(Source& source) {
  image::Listing listing = image::list_images(source.argument);
  std::vector<std::int32_t> labels;
  for (const std::string& name : listing.classes) {
    const auto found = std::ranges::find(classes_, name);
    labels.push_back(static_cast<std::int32_t>(found - classes_.begin()));
    if (found == classes_.end()) {
      classes_.push_back(name);
    }
  }
  for (image::Listing::File& file : listing.files) {
    if (file.label >= 0) {
      file.label = labels[static_cast<std::size_t>(file.label)];
    }
  }
  source.listing = std::move(listing);
}

std::optional<trainers::StreamItem> PictureNames::next_of(Source& source,
                                                          const std::stop_token& stop) {
  if (source.listing) {
    if (file_ == source.listing->files.size()) {
      return std::nullopt;
    }
    const image::Listing::File& file = source.listing->files[file_++];
    return trainers::StreamItem{(source.listing->folder / file.name).string(), file.label};
  }
  if (source.is_list) {
    if (lines_ == nullptr) {
      lines_ = std::make_unique<Lines>(source.argument);
    }
    const std::optional<std::string> line = lines_->next(stop);
    return line ? std::optional(trainers::StreamItem{*line, -1}) : std::nullopt;
  }
  return file_++ == 0 ? std::optional(trainers::StreamItem{source.argument, -1}) : std::nullopt;
}

std::optional<trainers::StreamItem> PictureNames::next(const std::stop_token& stop) {
  while (at_ < sources_.size() && most_.value_or(1) > 0) {
    if (auto item = next_of(sources_[at_], stop)) {
      if (most_) {
        --*most_;
      }
      return item;
    }
    ++at_;
    file_ = 0;
    lines_.reset();
  }
  return std::nullopt;
}

std::string PictureNames::description() const {
  constexpr std::size_t kShown = 3;
  std::string text;
  for (std::size_t i = 0; i < std::min(kShown, sources_.size()); ++i) {
    const Source& source = sources_[i];
    text += fmt::format("{}{}{}", i == 0 ? "" : ", ", source.listing ? "images in " : "",
                        source.argument == kStandardInput ? "standard input"
                        : net::is_url(source.argument)    ? net::shown_url(source.argument)
                                                          : source.argument);
  }
  return sources_.size() > kShown ? fmt::format("{} and {} more", text, sources_.size() - kShown)
                                  : text;
}

std::vector<std::uint8_t> read_picture(const std::string& name) {
  if (net::is_url(name)) {
    return net::fetch_bytes(name);
  }
  const io::PosixFile file(name, O_RDONLY);
  file.require_regular();
  const std::size_t size = file.size();
  if (size > kLargestFile) {
    throw IoError(fmt::format("{}: {} bytes are more than the limit of {} for a picture", name,
                              size, kLargestFile));
  }
  std::vector<std::uint8_t> bytes(size);
  file.read_at(0, bytes.data(), size);
  return bytes;
}

}  // namespace gentrain::jobs
