"""Makes schedules.json: the learning rates of PyTorch's schedulers with a peak of 1, step by step.

Needs PyTorch. Run it in this folder: python schedules.py
"""

import json

import torch
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LinearLR,
    OneCycleLR,
    PolynomialLR,
    SequentialLR,
)

STEPS = 20
WARMUP = 4


def rates(make):
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scheduler = make(optimizer)
    found = []
    for _ in range(STEPS):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return found


def warmed_up(then):
    def make(optimizer):
        first = LinearLR(optimizer, start_factor=1 / (WARMUP + 1), total_iters=WARMUP)
        return SequentialLR(optimizer, [first, then(optimizer)], milestones=[WARMUP])

    return make


golden = {
    "one_cycle": rates(lambda o: OneCycleLR(o, max_lr=1.0, total_steps=STEPS)),
    "cosine": rates(lambda o: CosineAnnealingLR(o, T_max=STEPS, eta_min=0.01)),
    "polynomial": rates(lambda o: PolynomialLR(o, total_iters=STEPS, power=0.9)),
    "warmup_cosine": rates(warmed_up(lambda o: CosineAnnealingLR(o, T_max=STEPS - WARMUP))),
    "warmup_constant": rates(warmed_up(lambda o: ConstantLR(o, factor=1.0, total_iters=0))),
}
with open("schedules.json", "w") as file:
    json.dump(golden, file, indent=1)
    file.write("\n")
