#!/usr/bin/env python3
"""Golden numbers of InceptionV3, VGG and SqueezeNet by PyTorch, in float64. Not run by any test.

usage: make_golden_pretrained.py numbers OUT.json                        (needs torch)
       make_golden_pretrained.py features DATA OUT.h5 [--pictures 4]     (and h5py, pillow)

numbers: weights and images are hashed numbers, which a test computes anew, so that a few numbers of
each block are all there is to store: tests/golden/pretrained.json. Of an array [n, h, w, c] or of a
parameter's gradient:

    mean, norm  over all elements, Euclidean
    projection  sum over elements i of x[i] * hashed("projection")[i]: two orders of branches differ
    at          in each quarter of the elements the place and value of the largest absolute one
    f32         of a network or step, how far float32 moves PyTorch's own numbers: norm and
                projection relative to the norm, the mean to norm / sqrt(elements), a value to the
                larger one of that and of itself

features: feature maps of real pictures with the weights files of DATA/weights. The pictures are of
DATA/cars_cats_dogs_flowers/validation, stretched to the network's size; /NETWORK/input holds them,
[n, h, w, 3] in -1..1, and /NETWORK/LAYER the maps, [n, h, w, c].
"""

import argparse
import json
import pathlib

import numpy
import torch

from golden_networks import HashedWeights, KerasWeights, Network, hashed

CLASSES = 4
INCEPTION = [f"mixed{i}" for i in range(11)]
# Name, images [n, h, w], of odd extents and no square, so that no window fits by chance, scale of
# biases, layers
NETWORKS = [
    ("inception_v3", (1, 107, 139), 0.125, INCEPTION),
    ("vgg16", (1, 37, 70), 8, ["block1_conv2", "block3_conv3", "block5_conv1", "block5_pool"]),
    ("vgg19", (1, 37, 70), 8, ["block1_conv2", "block3_conv4", "block5_conv4", "block5_pool"]),
    ("squeezenet", (2, 61, 75), 8, [f"fire{i}/concat" for i in range(2, 10)]),
]
# Training steps of InceptionV3, frozen through mixed8: divisor of the widths, statistics of the
# batch or frozen ones, seed (where the batch's count, the one of 1 to 6 whose gradients float32
# moves least)
STEPS = [(1, False, 1), (1, True, 3), (8, False, 1), (8, True, 3)]
STEP_IMAGES = (4, 107, 139)
# Files of DATA/weights, sizes of images and layers
FEATURES = {
    "inception_v3": ("inception_v3_imagenet_notop_partial.h5", 299, INCEPTION),
    "vgg16": ("vgg16_imagenet_notop.h5", 224, [f"block{i}_pool" for i in range(1, 6)]),
    "squeezenet": ("squeezenet_v1.1_imagenet_notop.h5", 227,
                   [f"fire{i}/concat" for i in range(2, 10)]),
}


def summary(x):
    """The numbers of an array, as a test has it: images [n, h, w, c]."""
    flat = (x.permute(0, 2, 3, 1) if x.dim() == 4 else x).detach().double().reshape(-1).numpy()
    quarters = numpy.array_split(numpy.arange(flat.size), 4)
    places = [int(q[numpy.argmax(numpy.abs(flat[q]))]) for q in quarters if q.size]
    return {"mean": flat.mean(), "norm": numpy.sqrt((flat * flat).sum()),
            "projection": (flat * hashed("projection", 0, flat.size)).sum(), "elements": flat.size,
            "at": [[i, flat[i]] for i in places], "flat": flat}


def rounding(exact, f32):
    """How far float32 moved the numbers of a summary."""
    norm = max(exact["norm"], 1e-300)
    rms = norm / numpy.sqrt(exact["elements"])
    apart = [abs(exact[k] - f32[k]) / norm for k in ("norm", "projection")]
    apart.append(abs(exact["mean"] - f32["mean"]) / rms)
    apart += [abs(v - f32["flat"][i]) / max(rms, abs(v)) for i, v in exact["at"]]
    return max(apart)


def stored(numbers):
    """Twelve digits of them."""
    if isinstance(numbers, dict):
        return {k: stored(v) for k, v in numbers.items() if k not in ("flat", "elements")}
    if isinstance(numbers, (list, tuple)):
        return [stored(v) for v in numbers]
    return numbers if isinstance(numbers, (int, str)) else float(f"{numbers:.12g}")


def hashed_images(extents, seed, dtype):
    values = hashed("images", seed, int(numpy.prod(extents)) * 3).reshape(*extents, 3)
    return torch.from_numpy(values).permute(0, 3, 1, 2).to(dtype)


def compared(compute):
    """What compute(dtype) gives in float64, {name: array}, as summaries; what float32 moves."""
    exact = {name: summary(x) for name, x in compute(torch.float64).items()}
    f32 = {name: summary(x) for name, x in compute(torch.float32).items()}
    worst = max(exact, key=lambda name: rounding(exact[name], f32[name]))
    moves = float(f"{rounding(exact[worst], f32[worst]):.1e}")
    print(f"  float32 moves most: {worst}, {moves}")
    return exact, moves


def network_entry(name, extents, bias, layers, seed=1):
    print(name)

    def compute(dtype, **options):
        with torch.no_grad():
            network = Network(HashedWeights(seed, bias), dtype, **options)
            getattr(network, name)(hashed_images(extents, seed, dtype))
        return {layer: network.maps[layer] for layer in layers}

    layers_numbers, moves = compared(compute)
    entry = {"name": name, "images": extents, "seed": seed, "bias": bias, "f32": moves,
             "layers": layers_numbers}
    if name == "inception_v3":  # what another library makes of the same layers: a test must see it
        wrong = compute(torch.float64, count_padding=True)["mixed0"]
        entry["padding_counted"] = {"mixed0": summary(wrong)}
    return entry


def step_entry(divisor, batch_statistics, seed):
    """Logits, loss, gradients, and the statistics of the batch."""
    print(f"step, widths / {divisor}, batch_statistics {batch_statistics}")
    extents = STEP_IMAGES
    labels = torch.arange(extents[0]) % CLASSES

    def compute(dtype):
        network = Network(HashedWeights(seed, 0.125), dtype, divisor, "mixed8", batch_statistics)
        maps = network.inception_v3(hashed_images(extents, seed, dtype))
        logits = network.classifier(maps, 1024 // divisor, CLASSES)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        loss.backward()
        result = {"logits": logits, "loss": loss.reshape(1)}
        result.update((name, p.grad.reshape(-1)) for name, p in network.learned.items())
        return result | network.statistics

    numbers, moves = compared(compute)
    entry = {"divisor": divisor, "images": extents, "seed": seed, "bias": 0.125, "f32": moves,
             "batch_statistics": batch_statistics, "frozen_through": "mixed8"}
    return entry | {"logits": numbers.pop("logits"), "loss": numbers.pop("loss")["mean"],
                    "gradients": numbers}


def write_numbers(path):
    networks = [network_entry(*network) for network in NETWORKS]
    steps = [step_entry(*step) for step in STEPS]
    lines = [f'{{"made_with": "PyTorch {torch.__version__.partition("+")[0]}",']
    for key, entries, end in (("networks", networks, "],"), ("steps", steps, "]}")):
        lines += [f'"{key}": [', ",\n".join(json.dumps(stored(e)) for e in entries), end]
    pathlib.Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_features(data, path, count):
    import h5py
    from PIL import Image
    data = pathlib.Path(data)
    pictures = sorted(data.glob("cars_cats_dogs_flowers/validation/*/*.jpg"))
    pictures = pictures[:: max(1, len(pictures) // count)][:count]
    with h5py.File(path, "w") as out:
        out.attrs["pictures"] = [str(p.relative_to(data)) for p in pictures]
        for name, (file, size, layers) in FEATURES.items():
            images = numpy.stack([numpy.asarray(Image.open(p).convert("RGB").resize((size, size)))
                                  for p in pictures])
            images = (images / 127.5 - 1).astype("f4")
            with h5py.File(data / "weights" / file) as weights, torch.no_grad():
                network = Network(KerasWeights(weights))
                getattr(network, name)(torch.from_numpy(images).double().permute(0, 3, 1, 2))
            out[f"{name}/input"] = images
            for layer in layers:
                maps = network.maps[layer].permute(0, 2, 3, 1).float().numpy()
                out.create_dataset(f"{name}/{layer}", data=maps)
                print(f"{name}/{layer} {maps.shape}, mean {maps.mean():.6g}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("numbers").add_argument("out")
    features = verbs.add_parser("features")
    features.add_argument("data")
    features.add_argument("out")
    features.add_argument("--pictures", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.verb == "numbers":
        write_numbers(arguments.out)
    else:
        write_features(arguments.data, arguments.out, arguments.pictures)


if __name__ == "__main__":
    main()
