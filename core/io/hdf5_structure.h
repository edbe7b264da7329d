// Pieces of HDF5's file format that lie in memory: numbers within bounds, the messages of an
// object. Sections are those of the HDF5 File Format Specification 2.0. For the sources of this
// folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "kernels/error.h"

namespace gentrain::io::hdf5 {

using std::uint16_t;
using std::uint32_t;
using std::uint64_t;
using std::uint8_t;
using Span = std::span<const std::byte>;

constexpr int kMaxMessages = 64;  // of an object
constexpr uint64_t kNowhere = ~uint64_t{0};

enum Message : uint16_t {
  kDataspace = 0x01,
  kLinkInfo = 0x02,
  kDatatype = 0x03,
  kLink = 0x06,
  kExternalFiles = 0x07,
  kLayout = 0x08,
  kAttribute = 0x0c,
  kContinuation = 0x10,
  kSymbolTable = 0x11,
};

// Reads little-endian numbers; throws IoError at the end of its range.
class Cursor {
 public:
  // `begin` is the file's address of the range's first byte.
  Cursor(Span range, uint64_t begin) : range_(range), begin_(begin) {}

  Span take(uint64_t count) {
    if (count > range_.size() - at_) {
      fail(fmt::format("{} bytes are needed, {} are there", count, range_.size() - at_));
    }
    const Span taken = range_.subspan(at_, count);
    at_ += count;
    return taken;
  }
  template <class Number>
  Number number() {
    Number value = 0;
    std::memcpy(&value, take(sizeof(Number)).data(), sizeof(Number));
    return value;
  }
  template <class Value>
  void expect(Value wanted, const char* what) {
    const auto found = number<Value>();
    if (found != wanted) {
      fail(fmt::format("{} is {}, not {}", what, found, wanted));
    }
  }
  void expect_bytes(Span wanted, const char* what) {
    if (std::memcmp(take(wanted.size()).data(), wanted.data(), wanted.size()) != 0) {
      fail(fmt::format("no {}", what));
    }
  }
  // The next `count` bytes.
  Cursor part(uint64_t count) {
    const uint64_t begin = begin_ + at_;
    return {take(count), begin};
  }
  void expect_text(std::string_view wanted, const char* what) {
    expect_bytes(std::as_bytes(std::span(wanted)), what);
  }
  [[nodiscard]] std::size_t left() const { return range_.size() - at_; }
  [[noreturn]] void fail(const std::string& reason) const {
    throw IoError(
        fmt::format("HDF5 structure, byte {} behind the first block: {}", begin_ + at_, reason));
  }

 private:
  Span range_;
  uint64_t begin_;
  std::size_t at_ = 0;
};

// From an address to the end of the file.
inline Cursor cursor_at(Span file, uint64_t address) {
  if (address > file.size()) {
    throw IoError(fmt::format("HDF5 structure, byte {} behind the first block: there are {}",
                              address, file.size()));
  }
  return {file.subspan(address), address};
}

// IV.A.1.a: calls `visit(type, cursor over the message's data)` for each message of an object
// header.
template <class Visit>
void visit_messages(Span file, uint64_t header, const Visit& visit) {
  Cursor head = cursor_at(file, header);
  head.expect<uint8_t>(1, "version of an object header");
  head.take(1);
  int messages = head.number<uint16_t>();
  if (messages > kMaxMessages) {
    head.fail(fmt::format("an object header with {} messages", messages));
  }
  head.take(4);
  const uint64_t size = head.number<uint32_t>();
  head.take(4);
  std::vector<Cursor> blocks = {{head.take(size), header + 16}};
  while (messages > 0) {
    if (blocks.empty()) {
      head.fail(fmt::format("{} messages of an object header are missing", messages));
    }
    Cursor block = blocks.back();
    blocks.pop_back();
    for (; messages > 0 && block.left() > 0; --messages) {
      const auto type = block.number<uint16_t>();
      const auto length = block.number<uint16_t>();
      block.take(4);
      Cursor content = block.part(length);
      if (type == kContinuation) {
        const auto address = content.number<uint64_t>();
        blocks.insert(blocks.begin(),
                      {cursor_at(file, address).take(content.number<uint64_t>()), address});
      } else {
        visit(type, content);
      }
    }
  }
}

}  // namespace gentrain::io::hdf5
