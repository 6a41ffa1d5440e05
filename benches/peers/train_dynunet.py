"""Trains MONAI's DynUNet on hippocampus for a number of minutes and prints the DSC on the cases held back.

python train_dynunet.py --data $ORGANSEG_DATA/hippocampus --minutes 20 --fold 0 --json

Filters 16, 32, 64, 128, patches of 40×56×40, two of them a step, z-scores, flips and changes of intensity, Dice
(background included, MONAI's default) + cross-entropy, gradients clipped at 12, AdamW with one cycle up to 2e-3 whose
position is the share of the minutes that have passed: training uses all of its time, at whatever speed. The scans are
in memory before the clock starts; the cases held back are looked at after it has stopped, each whole, with no
averaging. Channels-last, the faster layout here, and the three MALLOC_... settings of turns.py, with which the script
starts itself.
"""

import argparse
import json
import math
import os
import sys
import time

import nibabel
import numpy
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import DynUNet

from turns import TUNED

PATCH = (40, 56, 40)
FILTERS = (16, 32, 64, 128)
BATCH = 2
RATE = 2e-3
# PyTorch's one cycle: rises for 0.3 of the steps from 1/25 of the rate, then falls to 1/250000.
RISE, START, END = 0.3, 1 / 25, 1 / 250000
# The one cycle also takes AdamW's first beta from the one to the other and back.
BETA_SLOW, BETA_FAST, BETA_SECOND = 0.95, 0.85, 0.999
FORWARD_MULTIPLE = 8
LAYOUT = torch.channels_last_3d


def folds(names, count, seed):
    """scikit-learn's KFold with shuffling, over the sorted names."""
    order = numpy.arange(len(names))
    numpy.random.RandomState(seed).shuffle(order)
    return [[names[i] for i in sorted(part)] for part in numpy.array_split(order, count)]


def load(data, name):
    image = nibabel.load(f"{data}/imagesTr/{name}_0000.nii.gz").get_fdata(dtype=numpy.float32)
    label = nibabel.load(f"{data}/labelsTr/{name}.nii.gz").get_fdata(dtype=numpy.float32)
    return (image - image.mean()) / (image.std() + 1e-8), label.astype(numpy.uint8)


def padded(array, size, fill):
    wide = [(0, max(0, to - have)) for have, to in zip(array.shape, size)]
    return numpy.pad(array, wide, constant_values=fill)


def sample(random, image, label):
    """A patch anywhere, mirrored along each axis half of the time, its intensities scaled and shifted."""
    image, label = padded(image, PATCH, image.min()), padded(label, PATCH, 0)
    cut = tuple(slice(at, at + want) for at, want in
                ((random.integers(0, have - want + 1), want) for have, want in zip(image.shape, PATCH)))
    image, label = image[cut], label[cut]
    axes = [axis for axis in range(3) if random.random() < 0.5]
    image, label = numpy.flip(image, axes), numpy.flip(label, axes)
    if random.random() < 0.5:
        image = image * random.uniform(0.9, 1.1) + random.uniform(-0.1, 0.1)
    return image.astype(numpy.float32), label.astype(numpy.int64)


def cycle(share, first, peak, last):
    """Half cosines from `first` to `peak` and on to `last`, when that share of the time has passed."""
    start, end, part = (first, peak, share / RISE) if share < RISE else (peak, last, (share - RISE) / (1 - RISE))
    return end + (start - end) * (1 + math.cos(math.pi * min(part, 1))) / 2


def train(net, cases, minutes, seed):
    loss = DiceCELoss(to_onehot_y=True, softmax=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE)
    random = numpy.random.default_rng(seed)
    begun, steps, order = time.perf_counter(), 0, []
    net.train()
    while (share := (time.perf_counter() - begun) / (60 * minutes)) < 1:
        if len(order) < BATCH:
            order = list(random.permutation(len(cases)))
        drawn = [sample(random, *cases[order.pop()]) for _ in range(BATCH)]
        x, y = (torch.from_numpy(numpy.stack(part)[:, None]) for part in zip(*drawn))
        for group in optimizer.param_groups:
            group["lr"] = RATE * cycle(share, START, 1, END)
            group["betas"] = (cycle(share, BETA_SLOW, BETA_FAST, BETA_SLOW), BETA_SECOND)
        optimizer.zero_grad(set_to_none=True)
        loss(net(x.to(memory_format=LAYOUT)), y).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 12.0)
        optimizer.step()
        steps += 1
    return steps, time.perf_counter() - begun


def validate(net, cases):
    """The mean DSC of each label."""
    net.eval()
    found = []
    for image, label in cases:
        size = [max(math.ceil(n / FORWARD_MULTIPLE) * FORWARD_MULTIPLE, p) for n, p in zip(image.shape, PATCH)]
        with torch.no_grad():
            scores = net(torch.from_numpy(padded(image, size, image.min()))[None, None])
        mask = scores[0].argmax(0).numpy()[tuple(slice(0, n) for n in image.shape)]
        found.append([2 * ((mask == k) & (label == k)).sum() / ((mask == k).sum() + (label == k).sum())
                      for k in (1, 2)])
    return numpy.mean(found, axis=0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--split-seed", type=int, default=12345)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    names = sorted(f.removesuffix(".nii.gz") for f in os.listdir(f"{options.data}/labelsTr") if f.endswith(".nii.gz"))
    held_back = folds(names, options.folds, options.split_seed)[options.fold]
    learnt = [load(options.data, name) for name in names if name not in held_back]
    levels = len(FILTERS)
    net = DynUNet(3, 1, 3, [3] * levels, [1] + [2] * (levels - 1), [2] * (levels - 1), filters=FILTERS,
                  norm_name=("instance", {"affine": True})).to(memory_format=LAYOUT)
    steps, seconds = train(net, learnt, options.minutes, options.seed)
    dice = validate(net, [load(options.data, name) for name in held_back])
    result = {"minutes": seconds / 60, "steps": steps, "cases": len(learnt), "held_back": len(held_back),
              "dice": dice.tolist(), "mean": dice.mean()}
    print(json.dumps(result) if options.json else result)


if __name__ == "__main__":
    if not TUNED.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **TUNED})
    main()
