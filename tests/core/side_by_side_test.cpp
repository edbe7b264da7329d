// Shards side by side: what ops make of them, and which refuse.
#include <functional>

#include <gtest/gtest.h>

#include "core/autograd.h"
#include "core/ops/norm.h"
#include "core/ops/ops.h"
#include "core/parameters.h"
#include "kernels/error.h"
#include "tests/core/ops_fixture.h"
#include "tests/support/compare.h"

namespace gentrain {
namespace {

using test::message_of;

class OpsSideBySide : public Ops {
 protected:
  OpsSideBySide() {
    context_.training = true;
    context_.shards = &shards_;
  }

  [[nodiscard]] std::vector<double> noise_of(RngKey key, std::int64_t rows) const {
    Context alone{bench_.device(), bench_.queue(), nullptr, true, key};
    return bench_.values(ops::normal(alone, {rows, 3}, 5, DType::kF64));
  }

  SideBySide shards_{{1, 0, 3, 2}, {RngKey(1), RngKey(2), RngKey(3), RngKey(4)}};
};

TEST_F(OpsSideBySide, DrawNumbersWithTheKeyOfEachShard) {
  std::vector<double> expected = noise_of(RngKey(1), 1);
  for (const auto& [key, rows] : {std::pair(3, 3), std::pair(4, 2)}) {
    const std::vector<double> part = noise_of(RngKey(static_cast<std::uint64_t>(key)), rows);
    expected.insert(expected.end(), part.begin(), part.end());
  }
  EXPECT_EQ(bench_.values(ops::normal(context_, {6, 3}, 5, DType::kF64)), expected);
  EXPECT_NE(noise_of(RngKey(1), 6), expected) << "one key for all";
  EXPECT_EQ(message_of<ShapeError>([&] {
              ops::normal(context_, {7, 3}, 5, DType::kF64);
            }),
            "normal: the shards side by side have 1 + 0 + 3 + 2 rows: none below 0 and 7 in all "
            "needed");
}

TEST_F(OpsSideBySide, WhatSeesOtherRowsRefuses) {
  const Tensor image = random({6, 4, 4, 2});
  const Tensor kernel = random({3, 3, 3, 2});
  const Tensor two = random({2});
  const Tensor matrix = random({6, 2});
  const Tensor labels = Tensor::empty(bench_.device(), {6}, DType::kI32);
  double square_sum = 0;
  const std::vector<std::pair<const char*, std::function<void()>>> refused = {
      {"conv2d", [&] { ops::conv2d(context_, image, kernel, {}); }},
      {"conv2d_max_pool", [&] { ops::conv2d_max_pool(context_, image, kernel, {}); }},
      {"conv2d_transpose",
       [&] {
         ops::conv2d_transpose(context_, image, random({2, 3, 3, 1}), {}, {.to_h = 6, .to_w = 6});
       }},
      {"batch_norm",
       [&] {
         ops::batch_norm(context_, image, {two, two, two, two}, {});
       }},
      {"prelu", [&] { ops::prelu(context_, image, two); }},
      {"dropout", [&] { ops::dropout(context_, matrix, 0.5, 1); }},
      {"sum", [&] { ops::sum(context_, matrix); }},
      {"probe", [&] { ops::probe(context_, matrix, square_sum); }},
      {"softmax_cross_entropy", [&] { ops::softmax_cross_entropy(context_, matrix, labels, 1); }}};
  for (const auto& [op, call] : refused) {
    EXPECT_EQ(message_of<Error>(call),
              std::string(op) + ": 4 shards stand side by side but this op takes one at a time");
  }
  context_.shards = nullptr;
  EXPECT_NO_THROW(ops::sum(context_, matrix));
}

/// A set of one parameter whose gradients are those of `shards` shards.
class OneParameter final : public ParameterGradients {
 public:
  OneParameter(ParameterSet& parameters, Device& device, std::int64_t shards)
      : parameters_(parameters),
        slot_(Tensor::empty(device, parameters[0].shape(), DType::kF64)),
        shards_(shards) {}
  [[nodiscard]] std::uint64_t set_id() const override { return parameters_.id(); }
  [[nodiscard]] bool wants(int /*parameter*/) const override { return true; }
  Tensor slot(int /*parameter*/) override { return slot_; }
  void complete(int /*parameter*/) override {}
  [[nodiscard]] std::int64_t shards() const override { return shards_; }

 private:
  ParameterSet& parameters_;
  Tensor slot_;
  std::int64_t shards_;
};

TEST_F(OpsSideBySide, AParameterIsUsedOnce) {
  ParameterSet parameters;
  parameters.add("w", {2, 2}, {}, 1, 1);
  parameters.allocate(bench_.device(), bench_.queue(), DType::kF64);
  const auto twice = [&](std::int64_t shards, const SideBySide* side_by_side) {
    OneParameter gradients(parameters, bench_.device(), shards);
    Tape tape(bench_.device(), bench_.queue());
    ParameterGradients* const sets[] = {&gradients};
    tape.begin(sets);
    Context context{bench_.device(), bench_.queue(), &tape, true, {}, 1, false, side_by_side};
    Tensor y = ops::linear(context, random({6, 2}), parameters[0], {});
    y = ops::linear(context, y, parameters[0], {});
    tape.backward(ops::squared_error(context, y, 0.0, 1).loss);
  };
  EXPECT_EQ(message_of<Error>([&] { twice(4, &shards_); }),
            "linear: a second gradient of parameter 0 while 4 shards stand side by side");
  EXPECT_NO_THROW(twice(1, nullptr));
}

}  // namespace
}  // namespace gentrain
