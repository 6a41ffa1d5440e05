"""Times MONAI's DynUNet as unet_step does ours: a training step (Dice + cross-entropy, AdamW) and a prediction.

python unet_step.py --patch 64,96,96 --rounds 10 --json

--bf16 times prediction in bfloat16. For the better memory setting run it with MALLOC_MMAP_MAX_=0
MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_TOP_PAD_=1000000000.
"""

import argparse
import json
import statistics
import time

import torch
from monai.losses import DiceCELoss
from monai.networks.nets import DynUNet


def main():
    numbers = lambda text: [int(part) for part in text.split(",")]
    parser = argparse.ArgumentParser()
    parser.add_argument("--channels", type=numbers, default=[16, 32, 64, 128])
    parser.add_argument("--patch", type=numbers, default=[64, 96, 96])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--classes", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--what", choices=["step", "inference", "both"], default="both")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    levels = len(options.channels)
    net = DynUNet(3, 1, options.classes, [3] * levels, [1] + [2] * (levels - 1), [2] * (levels - 1),
                  filters=options.channels, norm_name=("instance", {"affine": True}))
    layout = torch.channels_last_3d if options.channels_last else torch.contiguous_format
    net = net.to(memory_format=layout)
    x = torch.randn(options.batch, 1, *options.patch).to(memory_format=layout)
    y = torch.randint(0, options.classes, (options.batch, 1, *options.patch))
    loss = DiceCELoss(to_onehot_y=True, softmax=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    result = {"step": [], "inference": [], "threads": options.threads}

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss(net(x), y).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()

    def inference():
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
            net(x)

    for name, work in (("step", step), ("inference", inference)):
        if options.what not in (name, "both"):
            continue
        net.train(name == "step")
        for i in range(options.rounds + 1):
            start = time.perf_counter()
            work()
            if i > 0:
                result[name].append((time.perf_counter() - start) * 1e3)
    with open("/proc/self/status") as status:
        peak = next(line for line in status if line.startswith("VmHWM"))
        result["peak_mb"] = int(peak.split()[1]) / 1024
    if options.json:
        print(json.dumps(result))
    else:
        print({k: round(statistics.median(v), 1) if isinstance(v, list) and v else v for k, v in result.items()})


if __name__ == "__main__":
    main()
