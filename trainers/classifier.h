// The classifier trainer: one pass with one update a step, softmax cross entropy.
#pragma once

#include <memory>

#include "core/data/dataset.h"
#include "core/data/loader.h"
#include "trainers/loop.h"
#include "trainers/models/network.h"

namespace gentrain::trainers {

/// Statistics of a step, summed over its shards.
enum ClassifierStatistic : std::size_t { kLossMean = 0, kCorrect = 1, kClassifierStatistics = 2 };

/// Makes the pass of a classifier stage; everything given must outlive it.
Pass make_classifier_pass(Update& update, const Network& network, data::Loader& loader,
                          const data::Dataset& dataset, const data::Normalization& normalization);

}  // namespace gentrain::trainers
