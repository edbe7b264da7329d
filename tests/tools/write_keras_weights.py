#!/usr/bin/env python3
"""Writes a Keras weights file with VGG19's first two convolutions, drawn at random, whole or with one thing wrong.

usage: write_keras_weights.py FILE whole|layer|extra|extents|transposed|nan     (needs h5py)
"""

import sys

import h5py
import numpy

LAYERS = {"block1_conv1": (3, 3, 3, 64), "block1_conv2": (3, 3, 64, 64)}  # kernels [kh, kw, in, out]


def main():
    path, wrong = sys.argv[1:]
    generator = numpy.random.default_rng(1)
    arrays = {}  # layer: {name of the array: values}
    for layer, extents in LAYERS.items():
        kernel = (generator.standard_normal(extents) / 20).astype("f4")
        arrays[layer] = {f"{layer}/kernel:0": kernel, f"{layer}/bias:0": numpy.zeros(extents[-1], "f4")}
    second = arrays["block1_conv2"]
    if wrong == "layer":
        del arrays["block1_conv2"]
    elif wrong == "extra":
        second["block1_conv2/gamma:0"] = numpy.ones(64, "f4")
    elif wrong == "transposed":
        second["block1_conv2/kernel:0"] = second["block1_conv2/kernel:0"].transpose(3, 0, 1, 2)
    elif wrong == "extents":
        second["block1_conv2/kernel:0"] = second["block1_conv2/kernel:0"][:, :, :32]
    elif wrong == "nan":
        second["block1_conv2/kernel:0"][1, 2, 3, 4] = numpy.nan
    elif wrong != "whole":
        sys.exit(f"there is no '{wrong}' to be wrong")
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.encode() for layer in arrays]
        for layer, named in arrays.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in named]
            for name, values in named.items():
                group.create_dataset(name, data=values)


if __name__ == "__main__":
    main()
