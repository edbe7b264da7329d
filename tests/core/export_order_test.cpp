// The order in which Keras has layers, in small models.
#include "core/keras/export_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gentrain::keras {
namespace {

using ::testing::ElementsAre;

TEST(KerasOrder, TheFarthestFirst) {
  const LayerCalls calls = {{{}}, {{{0, 0}}}, {{{0, 0}}}, {{{1, 0}}}, {{{2, 0}, {3, 0}}}};
  EXPECT_THAT(keras_order(calls, {{4, 0}}), ElementsAre(0, 1, 2, 3, 4));
}

TEST(KerasOrder, EquallyFarOnesAsAWalkFromTheOutputsMeetsThem) {
  const LayerCalls calls = {{{}}, {{{0, 0}}}, {{{0, 0}}}, {{{1, 0}}}, {{{3, 0}, {2, 0}}}};
  EXPECT_THAT(keras_order(calls, {{4, 0}}), ElementsAre(0, 1, 3, 2, 4));
}

TEST(KerasOrder, OfSeveralOutputsTheFirstIsWalkedFirst) {
  const LayerCalls calls = {{{}}, {{{0, 0}}}, {{{0, 0}}}};
  EXPECT_THAT(keras_order(calls, {{1, 0}, {2, 0}}), ElementsAre(0, 1, 2));
  EXPECT_THAT(keras_order(calls, {{2, 0}, {1, 0}}), ElementsAre(0, 2, 1));
}

TEST(KerasOrder, ALayerOfTwoCallsIsAsFarAsTheFarther) {
  // 1 is called on 0, then on 2, which is made of its first call.
  const LayerCalls calls = {{{}}, {{{0, 0}}, {{2, 0}}}, {{{1, 0}}}, {{{1, 1}}}};
  EXPECT_THAT(keras_order(calls, {{3, 0}}), ElementsAre(0, 1, 2, 3));
}

TEST(KerasOrder, WhatNoOutputNeedsComesLast) {
  const LayerCalls calls = {{{}}, {{}}, {{{1, 0}}}};
  EXPECT_THAT(keras_order(calls, {{2, 0}}), ElementsAre(1, 2, 0));
}

}  // namespace
}  // namespace gentrain::keras
