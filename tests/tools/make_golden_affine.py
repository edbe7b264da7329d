#!/usr/bin/env python3
"""Writes tests/golden/affine.json: what Keras itself makes of given augmentation parameters.

usage: make_golden_affine.py OUT.json
       (needs keras 3 with a backend, keras_preprocessing 1.1.2 and scipy; not run by any test)

Both versions of ImageDataGenerator.apply_transform run on one small picture, whose byte i is
(73 i + 41) modulo 256. They hand SciPy's affine_transform a matrix with an offset, which is noted
on the way. keras_preprocessing turns about a point one pixel below and to the right of the middle.
keras 3 turns about the middle, and exchanges the two axes of the whole map behind that.
"""

import json
import sys
import types

import keras
import keras_preprocessing
import keras_preprocessing.image
import numpy
import scipy.ndimage
from keras.src.legacy.preprocessing.image import ImageDataGenerator

H, W, C = 7, 10, 3
NAMES = {"rotation": "theta", "shift_y": "tx", "shift_x": "ty", "shear": "shear", "zoom_y": "zx",
         "zoom_x": "zy", "flip_horizontal": "flip_horizontal", "flip_vertical": "flip_vertical"}
CASES = [
    {"rotation": -17},
    {"rotation": 90},
    {"shift_y": 1.4},
    {"shift_x": -2.75},
    {"shear": 20},
    {"zoom_y": 0.8, "zoom_x": 1.25},
    {"rotation": 30, "shift_y": 0.7, "shift_x": -1.2, "shear": 15, "zoom_y": 0.8, "zoom_x": 1.25},
    {"rotation": 30, "shift_y": 0.7, "shift_x": -1.2, "shear": 15, "zoom_y": 0.8, "zoom_x": 1.25,
     "fill_mode": "reflect"},
    {"rotation": -23.5, "shift_y": -0.9, "shift_x": 1.6, "shear": 0.2, "zoom_y": 1.19,
     "zoom_x": 0.83, "flip_horizontal": True},
    {"rotation": 8, "shift_x": 1.1, "shear": -0.2, "zoom_y": 0.9, "zoom_x": 1.1,
     "flip_vertical": True},
    {"rotation": 163, "shift_y": 2.5, "zoom_x": 1.7, "flip_horizontal": True, "flip_vertical": True,
     "fill_mode": "reflect"},
]


def transformed(generator, case):
    """The matrix (two rows of three) that SciPy was given, and the picture that came out."""
    picture = ((73 * numpy.arange(H * W * C) + 41) % 256).astype("f8").reshape(H, W, C)
    matrices = []

    def noting(channel, matrix, offset, **named):
        matrices.append(numpy.column_stack([matrix, offset]))
        return scipy.ndimage.affine_transform(channel, matrix, offset, **named)

    scipy.ndimage.interpolation = types.SimpleNamespace(affine_transform=noting)
    result = generator.apply_transform(
        picture, {NAMES[name]: value for name, value in case.items() if name in NAMES})
    assert len(matrices) == C and all((m == matrices[0]).all() for m in matrices), matrices
    return matrices[0].ravel(), numpy.asarray(result).ravel()


def main():
    cases = []
    for case in CASES:
        entry = {"fill_mode": "nearest"} | case
        for key, make in (("", keras_preprocessing.image.ImageDataGenerator),
                          ("keras3_", ImageDataGenerator)):
            generator = make(fill_mode=entry["fill_mode"], data_format="channels_last")
            matrix, pixels = transformed(generator, case)
            entry[key + "matrix"] = [float(f"{value:.13g}") for value in matrix]
            if not key:
                entry["pixels"] = [float(f"{value:.6g}") for value in pixels]
        cases.append(entry)
    made_with = ", ".join(f"{module.__name__} {module.__version__}"
                          for module in (keras, keras_preprocessing, scipy))
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write(f'{{"made_with": {json.dumps(made_with)},\n"h": {H}, "w": {W}, "c": {C},\n')
        file.write('"cases": [\n')
        file.write(",\n".join(json.dumps(entry) for entry in cases))
        file.write("\n]}\n")


if __name__ == "__main__":
    main()
