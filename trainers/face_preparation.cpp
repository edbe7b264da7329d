// Every rank prepares its part of the photographs; rank 0 puts the faces together in the listing's
// order.
#include "trainers/face_preparation.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <span>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "comm/backoff.h"
#include "comm/shards.h"
#include "core/image/workers.h"
#include "core/io/atomic_file.h"
#include "core/io/posix_file.h"
#include "core/io/sha256.h"
#include "kernels/error.h"
#include "kernels/progress.h"
#include "trainers/contract.h"
#include "trainers/data_source.h"
#include "trainers/evaluate.h"
#include "trainers/json_members.h"

namespace gentrain::trainers {

namespace fs = std::filesystem;
using image::FaceOutcome;

namespace {

/// What one rank found.
struct Part {
  std::string outcomes;              // JSON: [outcome, reason] of each of its files
  std::vector<std::uint8_t> pixels;  // of the faces that it kept, one after another
};

/// Prepares photographs [mine.first, mine.last).
Part prepare_part(const image::Listing& listing, const comm::Range& mine,
                  const image::FaceOptions& options, int threads) {
  std::vector<image::PreparedFace> faces(static_cast<std::size_t>(mine.size()));
  image::for_each_index(faces.size(), threads, [&](std::size_t i) {
    const image::Listing::File& file = listing.files[static_cast<std::size_t>(mine.first) + i];
    faces[i] = image::prepare_face_file(listing.folder / file.name, options);
    progress::tick();
  });
  Part part;
  nlohmann::json outcomes = nlohmann::json::array();
  for (const image::PreparedFace& face : faces) {
    outcomes.push_back({static_cast<int>(face.outcome), face.reason});
    part.pixels.insert(part.pixels.end(), face.face.pixels.begin(), face.face.pixels.end());
  }
  part.outcomes = outcomes.dump(-1, ' ', false, kReplace);
  return part;
}

/// The outcomes of all ranks' files.
FaceReport gather_report(const image::Listing& listing, const std::string& mine,
                         comm::Communicator& communicator) {
  FaceReport report;
  for (const std::string& text : communicator.all_gather_text(mine)) {
    for (const nlohmann::json& one : nlohmann::json::parse(text)) {
      report.files.push_back({listing.files[report.files.size()].name,
                              static_cast<FaceOutcome>(one[0].get<int>()),
                              one[1].get<std::string>()});
    }
  }
  return report;
}

/// Brings every rank's pixels to rank 0, by rank; nothing to the others.
std::vector<std::vector<std::uint8_t>> gather_pixels(std::vector<std::uint8_t> mine,
                                                     const FaceReport& report,
                                                     std::size_t face_bytes,
                                                     comm::Communicator& communicator) {
  const int ranks = communicator.size();
  std::vector<std::vector<std::uint8_t>> pixels(static_cast<std::size_t>(ranks));
  std::vector<std::vector<comm::ConstBytes>> send(pixels.size());
  std::vector<std::vector<comm::Bytes>> receive(pixels.size());
  if (communicator.rank() > 0) {
    send[0].push_back({mine.data(), mine.size()});
  } else {
    for (int rank = 1; rank < ranks; ++rank) {
      const comm::Range part = comm::part_of(std::ssize(report.files), ranks, rank);
      const auto kept =
          std::count_if(report.files.begin() + part.first, report.files.begin() + part.last,
                        [](const auto& file) { return file.outcome == FaceOutcome::kKept; });
      const auto r = static_cast<std::size_t>(rank);
      pixels[r].resize(static_cast<std::size_t>(kept) * face_bytes);
      receive[r].push_back({pixels[r].data(), pixels[r].size()});
    }
  }
  const auto transfer = communicator.all_to_all(send, receive, communicator.reserve_tags(1, false));
  for (comm::Backoff backoff; !transfer->poll();) {
    backoff.pause();
  }
  if (communicator.rank() == 0) {
    pixels[0] = std::move(mine);
  }
  return pixels;
}

/// Rank 0: the faces of all ranks, each to its set.
void sort_faces(const std::vector<std::vector<std::uint8_t>>& pixels,
                const image::FaceOptions& options, PreparedFaces& faces) {
  const auto face_bytes = static_cast<std::size_t>(options.size * options.size * 3);
  std::size_t rank = 0;
  std::size_t offset = 0;
  for (const FaceReport::File& file : faces.report.files) {
    if (file.outcome != FaceOutcome::kKept) {
      continue;
    }
    while (offset == pixels[rank].size()) {
      ++rank;
      offset = 0;
    }
    const auto first = pixels[rank].begin() + static_cast<std::ptrdiff_t>(offset);
    const image::Image face{
        options.size, options.size, 3, {first, first + static_cast<std::ptrdiff_t>(face_bytes)}};
    const bool tests = image::is_test_face(file.name, options.test_share);
    (tests ? faces.test : faces.train).append(face, {file.name, -1});
    offset += face_bytes;
  }
}

/// Numbers of photographs by outcome, and of both sets.
nlohmann::json counts_of(const FaceReport& report, const image::FaceOptions& options) {
  nlohmann::json counts = {{"photographs", report.files.size()}};
  for (const FaceOutcome outcome : image::kFaceOutcomes) {
    counts[std::string(image::name_of(outcome))] = report.count(outcome);
  }
  counts["test"] = std::ranges::count_if(report.files, [&](const FaceReport::File& file) {
    return file.outcome == FaceOutcome::kKept && image::is_test_face(file.name, options.test_share);
  });
  counts["train"] = counts["kept"].get<std::int64_t>() - counts["test"].get<std::int64_t>();
  return counts;
}

nlohmann::json header_of(const FaceReport& report, const image::FaceOptions& options) {
  return {{"faces",
           {{"method", image::kFaceMethod},
            {"size", options.size},
            {"margin", options.margin},
            {"test_share", options.test_share},
            {"counts", counts_of(report, options)}}}};
}

void refuse_empty_sets(const image::Listing& listing, const FaceReport& report,
                       const image::FaceOptions& options) {
  const nlohmann::json header = header_of(report, options);
  const nlohmann::json& counts = header["faces"]["counts"];
  if (counts["kept"] == 0) {
    throw IoError(fmt::format("{}: no face could be prepared: {}", listing.folder.string(),
                              face_summary(header)));
  }
  if (counts["train"] == 0 || counts["test"] == 0) {
    throw IoError(
        fmt::format("{}: there are too few faces for two sets, which their names divide with "
                    "data.faces.test_share {}: {}",
                    listing.folder.string(), options.test_share, face_summary(header)));
  }
}

nlohmann::json report_of(const image::Listing& listing, const FaceReport& report,
                         const image::FaceOptions& options) {
  nlohmann::json json = header_of(report, options)["faces"];
  json["folder"] = listing.folder.string();
  json["files"] = nlohmann::json::array();
  for (const FaceReport::File& file : report.files) {
    nlohmann::json one = {{"name", file.name}, {"outcome", image::name_of(file.outcome)}};
    if (file.outcome == FaceOutcome::kKept) {
      one["set"] = image::is_test_face(file.name, options.test_share) ? "test" : "train";
    } else if (file.outcome == FaceOutcome::kUnreadable) {
      one["reason"] = file.reason;
    }
    json["files"].push_back(std::move(one));
  }
  return json;
}

void make_output(const fs::path& output) {
  std::error_code error;
  fs::create_directories(output, error);
  if (error) {
    throw IoError(
        fmt::format("output: the folder {} cannot be made: {}", output.string(), error.message()));
  }
  const io::AtomicWriter probe(output / "report.json");  // nobody is to learn it minutes later
}

/// Rank 0 writes what was prepared.
void write_output(const image::Listing& listing, const PreparedFaces& faces,
                  const image::FaceOptions& options, const fs::path& output) {
  write_faces(output / "train.h5", faces, FacePart::kTrain, options);
  write_faces(output / "test.h5", faces, FacePart::kTest, options);
  io::write_file_atomically(
      output / "report.json",
      report_of(listing, faces.report, options).dump(2, ' ', false, kReplace) + "\n");
}

}  // namespace

std::int64_t FaceReport::count(image::FaceOutcome outcome) const {
  return std::ranges::count(files, outcome, &File::outcome);
}

PreparedFaces prepare_faces(const image::Listing& listing, const image::FaceOptions& options,
                            int threads, comm::Communicator& communicator) {
  const comm::Range mine =
      comm::part_of(std::ssize(listing.files), communicator.size(), communicator.rank());
  Part part = prepare_part(listing, mine, options, threads);
  PreparedFaces faces;
  faces.report = gather_report(listing, part.outcomes, communicator);
  refuse_empty_sets(listing, faces.report, options);
  const auto face_bytes = static_cast<std::size_t>(options.size * options.size * 3);
  const auto pixels = gather_pixels(std::move(part.pixels), faces.report, face_bytes, communicator);
  if (communicator.rank() == 0) {
    sort_faces(pixels, options, faces);
  }
  return faces;
}

void write_faces(const std::filesystem::path& file, const PreparedFaces& faces, FacePart part,
                 const image::FaceOptions& options) {
  image::PackHeader header;
  header.more = header_of(faces.report, options);
  image::write_pack(file, part == FacePart::kTrain ? faces.train : faces.test, header);
}

std::string face_summary(const nlohmann::json& header) {
  try {
    const nlohmann::json& counts = header.at("faces").at("counts");
    const auto count = [&](const char* name) {
      return with_commas(counts.at(name).get<std::int64_t>());
    };
    return fmt::format(
        "{} of {} photographs are kept: {} for training, {} for testing; {} show no frontal face, "
        "{} several, {} one that is cut off, {} are too small, {} unreadable",
        count("kept"), count("photographs"), count("train"), count("test"), count("none"),
        count("several"), count("outside"), count("small"), count("unreadable"));
  } catch (const nlohmann::json::exception& error) {
    throw IoError(fmt::format("no pack of prepared faces: header: {}", error.what()));
  }
}

std::vector<std::filesystem::path> photograph_folders(const DataOptions& options) {
  return data_folders(options, "lfw");
}

std::filesystem::path find_photographs(const DataOptions& options) {
  for (const fs::path& folder : photograph_folders(options)) {
    if (std::error_code ignored; io::is_there(folder) && fs::is_directory(folder, ignored)) {
      return folder;
    }
  }
  return {};
}

image::Listing list_photographs(const DataOptions& options, comm::Communicator& communicator) {
  const fs::path folder = find_photographs(options);
  if (folder.empty()) {
    throw IoError(fmt::format(
        "the photographs of faces are not there: a folder of images was looked for as {}. Put "
        "those of Labeled Faces in the Wild (lfw/PERSON/FILE.jpg) into one of them, set "
        "GENTRAIN_DATA or data.folder, or take data.source: faces, which are drawn",
        joined(photograph_folders(options))));
  }
  image::Listing listing = image::list_images(folder);
  check_equal_on_all_ranks(communicator, [&]() -> std::vector<NamedText> {
    io::Sha256 names;
    for (const image::Listing::File& file : listing.files) {
      names.update(file.name.c_str(), file.name.size() + 1);
    }
    return {{"photographs", fmt::format("{} files in {}, hash of their names {}",
                                        listing.files.size(), folder.string(), names.finish())}};
  });
  return listing;
}

void run_face_preparation(const DataOptions& options, const std::filesystem::path& output,
                          int threads, comm::Communicator& communicator) {
  const auto start = std::chrono::steady_clock::now();
  const image::Listing listing = list_photographs(options, communicator);
  const bool writes = communicator.rank() == 0;
  if (writes) {
    make_output(output);
  }
  spdlog::info("preparing {} photographs in {}: {} rank{} x {} thread{}",
               with_commas(std::ssize(listing.files)), listing.folder.string(), communicator.size(),
               communicator.size() == 1 ? "" : "s", threads, threads == 1 ? "" : "s");
  const PreparedFaces faces = prepare_faces(listing, options.faces, threads, communicator);
  if (writes) {
    write_output(listing, faces, options.faces, output);
  }
  communicator.barrier();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  spdlog::info("{}", face_summary(header_of(faces.report, options.faces)));
  spdlog::info("wrote train.h5, test.h5 and report.json to {} after {:.1f} s", output.string(),
               seconds.count());
}

}  // namespace gentrain::trainers
