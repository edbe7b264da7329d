// A device that cuts the operations of one large image into a fixed number of parts, each computed
// by the kernels of another device: for threads that have no other images to work on.
#pragma once

#include <functional>
#include <memory>

#include "kernels/device.h"

namespace gentrain {

/// Calls part(0) to part(parts - 1), each once, in any order and on any threads, at most one call
/// of each at a time; returns when all have ended, and throws what one of them threw.
using RunParts = std::function<void(int parts, const std::function<void(int part)>& part)>;

/// `device` itself, but that convolutions and poolings of a single image are cut by rows
/// (kernels/row_parts.h), and ElementwiseKernels and functions of one tensor of PointwiseKernels by
/// elements, into `parts` parts. What is not worth it, or cannot be cut, is computed whole, and so
/// are all other routines: NormKernels, PointwiseKernels' functions of two tensors and maps along
/// axes, matrix products.
///
/// The result is a function of `parts`, never of who runs them: a kernel may add the products of a
/// part in another order than those of the whole, so `parts` belongs to the contract. Nothing is
/// computed twice: at 600 x 600 pixels strips of an image with a network each would see 82 rows of
/// their neighbour (the reach of VGG16's block5_conv2 into the image), 19 % more products with two
/// strips and 27 % more memory, while cutting each operation costs two turns at a barrier (some
/// 10 us) in operations of 10 to 100 ms.
///
/// `device` must outlive the result. One thread at a time may call its kernels. Throws ShapeError
/// unless parts is 1 to 64.
std::unique_ptr<Device> make_parted_device(Device& device, int parts, RunParts run);

}  // namespace gentrain
