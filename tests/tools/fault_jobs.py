"""The jobs that faults strike: small ones that draw their data, with a line of metrics for each step and a checkpoint
every few. Epochs have ten steps."""

import dataclasses

STEPS_OF_EPOCH = 10


@dataclasses.dataclass
class Job:
    text: str    # YAML
    steps: int   # of all stages
    first: int   # faults strike from this step on
    last: int    # and up to this one, so that the run is not over before they do
    shards: int  # no more ranks than that
    disk: str    # size of the file system on which a run gets short of room


LENET = """\
batch: {global: 128, shards: 16}
data: {source: digits, train_count: 1280, test_count: 2000}
model: lenet
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
best: {metric: loss}
checkpoint: {every: 7}
log: {every: 1}
stop: {epochs: 30}
"""

VAE = """\
batch: {global: 512, shards: 16}
data:
  source: digits
  train_count: 5120
  test_count: 500
  normalize: {train: {mean: 0, std: 1}}
model: {name: vae, latent: 8, hidden: 64}
init: kaiming
optimizer: {name: adam, lr: 3.0e-3}
best: {metric: loss}
checkpoint: {every: 7}
log: {every: 1}
stop: {epochs: 30}
"""

# Both of its stages are struck.
SRGAN = """\
batch: {global: 8, shards: 8}
data: {source: faces, train_count: 80, test_count: 8}
model: {name: srgan, width: 8, blocks: 2, ema: 0.9}
init: xavier
content: {weights: random, maps: [block1_conv2]}
adversarial: {weight: 0.01}
checkpoint: {every: 3}
log: {every: 1}
stages:
  mse:
    stop: {epochs: 2}
    optimizer: {name: adam, lr: 1.0e-3}
  gan:
    stop: {epochs: 2}
    optimizer: {name: adam, lr: 1.0e-3, discriminator: {lr: 5.0e-4}}
"""

JOBS = {
    "lenet": Job(LENET, steps=300, first=8, last=260, shards=16, disk="4m"),
    "vae": Job(VAE, steps=300, first=8, last=260, shards=16, disk="32m"),
    "srgan": Job(SRGAN, steps=40, first=4, last=36, shards=8, disk="48m"),
}
