#!/usr/bin/env python3
"""InceptionV3, VGG and SqueezeNet in PyTorch, written from the published layer lists by Keras's
names, and the hashed numbers that stand for weights. make_golden_pretrained.py computes golden
numbers with it; needs torch.
"""

import numpy
import torch
import torch.nn.functional as F

MEANS = (103.939, 116.779, 123.68)  # BGR


def hashed(name, seed, count):
    """`count` numbers in [-1, 1), multiples of 2^-23, as tests/support/hashed_values.h has them."""
    with numpy.errstate(over="ignore"):
        key = numpy.uint32(2166136261)  # FNV-1a
        for byte in f"{name}#{seed}".encode():
            key = (key ^ numpy.uint32(byte)) * numpy.uint32(16777619)
        x = key + numpy.arange(count, dtype=numpy.uint32) * numpy.uint32(0x9E3779B9)
        x = (x ^ (x >> numpy.uint32(16))) * numpy.uint32(0x85EBCA6B)  # MurmurHash3's last step
        x = (x ^ (x >> numpy.uint32(13))) * numpy.uint32(0xC2B2AE35)
        x = x ^ (x >> numpy.uint32(16))
    return (x >> numpy.uint32(8)).astype("f8") * 2.0 ** -23 - 1


class HashedWeights:
    """Parameters out of their names: kernels uniform with variance 2 / fan_in, the others small."""

    def __init__(self, seed, bias):
        self.seed, self.bias = seed, bias

    def get(self, name, shape):
        """shape: [out, kh, kw, in] or [out, in] of weights, [channels] of the others."""
        values = hashed(name, self.seed, int(numpy.prod(shape)))
        part = name.rpartition("/")[2]
        if part == "weight":
            values = values * numpy.sqrt(6.0 / numpy.prod(shape[1:]))
        elif part == "bias":
            values = values * self.bias
        elif part == "running_var":
            values = 1 + values / 4
        else:  # beta, running_mean
            values = values / 8
        return values.astype("f4").reshape(shape)


class KerasWeights:
    """Parameters out of a weights file of Keras: an open h5py.File."""

    PARTS = {"weight": ("kernel", "W_1", "W"), "bias": ("bias", "b_1", "b"), "beta": ("beta",),
             "running_mean": ("moving_mean",), "running_var": ("moving_variance",)}

    def __init__(self, file):
        self.file = file

    def get(self, name, shape):
        layer, _, part = name.rpartition("/")
        names = [n.decode() for n in self.file[layer].attrs["weight_names"]]
        wanted = [n for n in names if n.partition(":")[0].endswith(self.PARTS[part])]
        if part in ("weight", "bias") and not wanted:  # SqueezeNet's have any names
            wanted = names[:1] if part == "weight" else names[1:2]
        values = self.file[layer][wanted[0]][()]
        values = numpy.moveaxis(values, -1, 0) if part == "weight" else values
        assert values.shape == tuple(shape), (name, values.shape, shape)
        return numpy.ascontiguousarray(values, dtype="f4")


class Network:
    """Functions of images [n, c, h, w]. What the layers of `keep` give is left in `maps`.

    From the end of layer `frozen_through` on, parameters are leaves that get gradients: `learned`.
    With batch_statistics the batch norms among them normalise with the batch, whose mean and
    variance (as running ones take it, without bias) are left in `statistics`.
    """

    def __init__(self, weights, dtype=torch.float64, divisor=1, frozen_through="",
                 batch_statistics=False, count_padding=False):
        self.weights, self.dtype, self.divisor = weights, dtype, divisor
        self.frozen_through, self.batch_statistics = frozen_through, batch_statistics
        self.count_padding = count_padding
        self.learning = False
        self.learned, self.statistics, self.maps = {}, {}, {}
        self.convs = self.blocks = 0

    def parameter(self, name, *shape):
        tensor = torch.from_numpy(self.weights.get(name, shape)).to(self.dtype)
        if self.learning and not name.endswith(("running_mean", "running_var")):
            self.learned[name] = tensor.requires_grad_()
        return tensor

    def keep(self, name, x):
        self.maps[name] = x.detach()
        if name == self.frozen_through:
            self.learning = True
        return x

    def conv2d(self, name, x, out, kernel, stride=1, padding=0, bias=True):
        weight = self.parameter(name + "/weight", out, *kernel, x.shape[1]).permute(0, 3, 1, 2)
        return F.conv2d(x, weight, self.parameter(name + "/bias", out) if bias else None, stride,
                        padding)

    def dense(self, name, x, out):
        return F.linear(x, self.parameter(name + "/weight", out, x.shape[1]),
                        self.parameter(name + "/bias", out))

    # InceptionV3: Szegedy et al. 2015; layers numbered as keras.applications makes them.
    def unit(self, x, out, kernel, stride=1, same=True):
        """Convolution without bias, batch norm without gamma, ReLU."""
        self.convs += 1
        out //= self.divisor
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (kernel[0] // 2, kernel[1] // 2) if same else 0
        x = self.conv2d(f"conv2d_{self.convs}", x, out, kernel, stride, padding, bias=False)
        return F.relu(self.norm(f"batch_normalization_{self.convs}", x))

    def norm(self, name, x):
        beta, mean, variance = (self.parameter(f"{name}/{part}", x.shape[1])
                                for part in ("beta", "running_mean", "running_var"))
        if self.learning and self.batch_statistics:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
            self.statistics[name + "/running_mean"] = mean.detach()
            self.statistics[name + "/running_var"] = x.detach().var((0, 2, 3), unbiased=True)
        scale = 1 / torch.sqrt(variance + 1e-3)
        return (x - mean[:, None, None]) * scale[:, None, None] + beta[:, None, None]

    def block(self, *branches):
        self.blocks += 1
        return self.keep(f"mixed{self.blocks - 1}", torch.cat(branches, 1))

    def pooled(self, x, out):
        return self.unit(F.avg_pool2d(x, 3, 1, 1, count_include_pad=self.count_padding), out, 1)

    def inception_v3(self, x):
        unit = self.unit
        x = unit(x, 32, 3, 2, same=False)
        x = unit(x, 32, 3, same=False)
        x = F.max_pool2d(unit(x, 64, 3), 3, 2)
        x = unit(x, 80, 1)
        x = F.max_pool2d(unit(x, 192, 3, same=False), 3, 2)
        for out in (32, 64, 64):  # mixed0 to mixed2
            one = unit(x, 64, 1)
            five = unit(unit(x, 48, 1), 64, 5)
            threes = unit(unit(unit(x, 64, 1), 96, 3), 96, 3)
            x = self.block(one, five, threes, self.pooled(x, out))
        three = unit(x, 384, 3, 2, same=False)
        threes = unit(unit(unit(x, 64, 1), 96, 3), 96, 3, 2, same=False)
        x = self.block(three, threes, F.max_pool2d(x, 3, 2))
        for c in (128, 160, 160, 192):  # mixed4 to mixed7
            one = unit(x, 192, 1)
            seven = unit(unit(unit(x, c, 1), c, (1, 7)), 192, (7, 1))
            sevens = unit(unit(unit(x, c, 1), c, (7, 1)), c, (1, 7))
            sevens = unit(unit(sevens, c, (7, 1)), 192, (1, 7))
            x = self.block(one, seven, sevens, self.pooled(x, 192))
        three = unit(unit(x, 192, 1), 320, 3, 2, same=False)
        seven = unit(unit(unit(x, 192, 1), 192, (1, 7)), 192, (7, 1))
        seven = unit(seven, 192, 3, 2, same=False)
        x = self.block(three, seven, F.max_pool2d(x, 3, 2))
        for _ in range(2):  # mixed9, mixed10
            one = unit(x, 320, 1)
            three = unit(x, 384, 1)
            forks = [unit(three, 384, (1, 3)), unit(three, 384, (3, 1))]
            threes = unit(unit(x, 448, 1), 384, 3)
            forks += [unit(threes, 384, (1, 3)), unit(threes, 384, (3, 1))]
            x = self.block(one, *forks, self.pooled(x, 192))
        return x

    def classifier(self, x, hidden, classes):
        """Logits: global average, a dense layer of ReLU, one of the classes."""
        x = F.relu(self.dense("head_dense", x.mean((2, 3)), hidden))
        return self.dense("head_logits", x, classes)

    # Networks that were trained on BGR minus means; images are RGB in -1..1.
    def caffe(self, x):
        means = torch.tensor(MEANS, dtype=self.dtype)
        return (x.flip(1) + 1) * 127.5 - means[:, None, None]

    def vgg(self, x, convolutions):
        """Simonyan and Zisserman 2015."""
        x = self.caffe(x)
        for block, (out, count) in enumerate(zip((64, 128, 256, 512, 512), convolutions), 1):
            for i in range(1, count + 1):
                name = f"block{block}_conv{i}"
                x = self.keep(name, F.relu(self.conv2d(name, x, out, (3, 3), padding=1)))
            x = self.keep(f"block{block}_pool", F.max_pool2d(x, 2))
        return x

    def vgg16(self, x):
        return self.vgg(x, (2, 2, 3, 3, 3))

    def vgg19(self, x):
        return self.vgg(x, (2, 2, 4, 4, 4))

    def squeezenet(self, x):
        """Version 1.1 of Iandola et al. 2016."""
        x = F.relu(self.conv2d("conv1", self.caffe(x), 64, (3, 3), 2))
        for number in range(2, 10):
            if number in (2, 4, 6):
                x = F.max_pool2d(x, 3, 2)
            squeeze, expand = ((16, 64), (32, 128), (48, 192), (64, 256))[number // 2 - 1]
            fire = f"fire{number}/"
            x = F.relu(self.conv2d(fire + "squeeze1x1", x, squeeze, (1, 1)))
            left = F.relu(self.conv2d(fire + "expand1x1", x, expand, (1, 1)))
            right = F.relu(self.conv2d(fire + "expand3x3", x, expand, (3, 3), padding=1))
            x = self.keep(fire + "concat", torch.cat([left, right], 1))
        return x
