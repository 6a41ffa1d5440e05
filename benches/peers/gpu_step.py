"""Times one training step and one prediction of the U-Net of `gpu_step` in PyTorch, and tells the peaks of memory.

python gpu_step.py --channels 32,64,128,256,320 --downsampling strided --patch 128,128,128 --batch 2 --json
python gpu_step.py --device cpu --channels 8,16 --patch 32,32,32 --batch 1 --rounds 1     # tries the program

The network is that of organseg's `UnetConfig` with these channels, written as a plain module. A step is forward, the
two-sided Dice loss + cross-entropy of crates/unet/src/loss, backward, clipping and fused AdamW that decays no vectors.
16-bit numbers come by autocast, for predictions also by weights that were cast beforehand. cudnn.benchmark is on. With
--compile network and loss go through torch.compile together; a part that fails is told under "errors".

As in `gpu_step`, steps are timed in rounds of some, and nothing waits for the card within a round. The phases are those
of other steps, with a wait after each phase. A peak is of the memory in use after warm-up, so that what cudnn.benchmark
tries does not count. With --json the report is printed anew after each part: one that is stopped leaves what it had.
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

# Runs before those that count.
WARM_UP = 5
# Runs of a round, one after the other. `gpu_step` has the same.
RUNS_A_ROUND = 5

LEARNING_RATE = 1e-3
CLIP_NORM = 12.0
# In both denominators of the Dice loss.
EPSILON = 1e-5

NUMBERS = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
LAYOUTS = {"channels_last_3d": torch.channels_last_3d, "contiguous": torch.contiguous_format}


def level(inputs, outputs, stride):
    layers = []
    for channels, stride in ((inputs, stride), (outputs, 1)):
        layers += [nn.Conv3d(channels, outputs, 3, stride, 1, bias=False),
                   nn.InstanceNorm3d(outputs, affine=True), nn.LeakyReLU(0.01, inplace=True)]
    return nn.Sequential(*layers)


class Unet(nn.Module):
    """`UnetConfig` with instance norm, plain blocks, transposed up-sampling and concatenated skips."""

    def __init__(self, channels, classes, downsampling):
        super().__init__()
        strided = downsampling == "strided"
        self.halve = nn.Identity() if strided else nn.MaxPool3d(2)
        self.down = nn.ModuleList(level(a, b, 2 if strided and i > 0 else 1)
                                  for i, (a, b) in enumerate(zip([1, *channels], channels)))
        pairs = list(zip(channels, channels[1:]))[::-1]
        self.raised = nn.ModuleList(nn.ConvTranspose3d(below, here, 2, 2) for here, below in pairs)
        self.up = nn.ModuleList(level(2 * here, here, 1) for here, _ in pairs)
        self.head = nn.Conv3d(channels[0], classes, 1)

    def forward(self, x):
        x = self.down[0](x)
        across = []
        for down in self.down[1:]:
            across.append(x)
            x = down(self.halve(x))
        for raised, up in zip(self.raised, self.up):
            x = up(torch.cat([across.pop(), raised(x)], 1))
        return self.head(x)


def loss_of(scores, labels, truth):
    """Two-sided Dice over the batch, the mean of the foreground classes, + cross-entropy; `truth`: `labels` one-hot."""
    p, y = scores.softmax(1)[:, 1:], truth[:, 1:]
    axes = (0, 2, 3, 4)
    hit, both, voxels = (p * y).sum(axes), p.sum(axes) + y.sum(axes), labels.numel()
    overlap = hit / (both + EPSILON) + (voxels - both + hit) / (2 * voxels + EPSILON - both)
    return 1 - overlap.mean() + F.cross_entropy(scores, labels)


class Network(nn.Module):
    """Scores in f32 of an image in f32, with `number` between the layers: that of the weights, or by autocast."""

    def __init__(self, net, device, number, autocast):
        super().__init__()
        self.net, self.device, self.number, self.autocast = net, device, number, autocast

    def forward(self, image):
        if not self.autocast:
            return self.net(image.to(self.number)).float()
        with torch.autocast(self.device, self.number):
            return self.net(image).float()


class NetworkWithLoss(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, image, labels, truth):
        return loss_of(self.network(image), labels, truth)


class Training:
    """A network in training on one batch."""

    def __init__(self, network, image, classes, layout, compiled):
        self.network, self.image = network.train(), image
        self.together = torch.compile(NetworkWithLoss(network)) if compiled else None
        vectors = [p for p in network.parameters() if p.dim() == 1]
        weights = [p for p in network.parameters() if p.dim() > 1]
        groups = [{"params": weights}, {"params": vectors, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, LEARNING_RATE, weight_decay=1e-2, fused=True)
        self.labels = torch.randint(classes, (image.shape[0], *image.shape[2:]), device=image.device)
        truth = F.one_hot(self.labels, classes).permute(0, 4, 1, 2, 3).float()
        self.truth = truth.contiguous(memory_format=layout)

    def step(self, after_phase=lambda name: None):
        if self.together is not None:
            total = self.together(self.image, self.labels, self.truth)
            after_phase("forward and loss")
        else:
            scores = self.network(self.image)
            after_phase("forward")
            total = loss_of(scores, self.labels, self.truth)
            del scores
            after_phase("loss")
        total.backward()
        after_phase("backward")
        nn.utils.clip_grad_norm_(self.network.parameters(), CLIP_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        after_phase("optimizer")


class Clock:
    """Times and peaks of work on a device."""

    def __init__(self, device, rounds):
        self.on_card, self.rounds = device == "cuda", rounds

    def wait(self):
        if self.on_card:
            torch.cuda.synchronize()

    def measured(self, work):
        """Milliseconds of one run of `work` in each round, and the most memory in use."""
        for _ in range(WARM_UP):
            work()
        if self.on_card:
            torch.cuda.reset_peak_memory_stats()
        times = [self.round_ms(work) for _ in range(self.rounds)]
        peak = torch.cuda.max_memory_allocated() if self.on_card else None
        return {"ms": statistics.median(times), "rounds_ms": times, "peak_bytes": peak}

    def round_ms(self, work):
        self.wait()
        started = time.perf_counter()
        for _ in range(RUNS_A_ROUND):
            work()
        self.wait()
        return (time.perf_counter() - started) * 1e3 / RUNS_A_ROUND

    def phases_ms(self, step):
        """Milliseconds of each phase, the median of as many steps as there are rounds."""
        times = {}
        for _ in range(self.rounds):
            self.wait()
            marks = [time.perf_counter()]

            def after_phase(name):
                self.wait()
                marks.append(time.perf_counter())
                times.setdefault(name, []).append((marks[-1] - marks[-2]) * 1e3)

            step(after_phase)
        return {name: statistics.median(each) for name, each in times.items()}


class Report:
    """What came out so far."""

    def __init__(self, options):
        card = torch.cuda.get_device_name() if options.device == "cuda" else options.device
        self.as_json = options.json
        self.values = {
            "program": "torch " + torch.__version__, "card": card, "numbers": options.numbers, "tf32": options.tf32,
            "layout": options.layout, "compiled": options.compile, "channels": options.channels,
            "downsampling": options.downsampling, "classes": options.classes, "patch": options.patch,
            "batch": options.batch, "errors": {},
        }

    def add(self, part, work):
        """Does a part and prints what there is then. What goes wrong, such as too little memory, is a result too."""
        try:
            self.values[part] = work()
        except Exception as error:
            self.values["errors"][part] = f"{type(error).__name__}: {error}"[:500]
        if self.as_json:
            print(json.dumps(self.values), flush=True)


def training_parts(report, options, clock, network, image):
    layout = LAYOUTS[options.layout]
    training = Training(network, image, options.classes, layout, options.compile)
    report.add("step", lambda: clock.measured(training.step))
    report.add("phases_ms", lambda: clock.phases_ms(training.step))
    training.optimizer.zero_grad(set_to_none=True)


def inference_part(report, part, options, clock, network, image):
    network = network.eval()
    run = torch.compile(network) if options.compile else network

    def predict():
        with torch.inference_mode():
            run(image)

    report.add(part, lambda: clock.measured(predict))


def numbers_of(text):
    return [int(part) for part in text.split(",")]


def parsed_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--channels", type=numbers_of, default=[32, 64, 128, 256, 320])
    parser.add_argument("--downsampling", choices=["pooled", "strided"], default="strided")
    parser.add_argument("--patch", type=numbers_of, default=[128, 128, 128])
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--classes", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--numbers", choices=NUMBERS, default="bf16")
    parser.add_argument("--tf32", action="store_true", help="let f32 convolutions round their factors to TF32")
    parser.add_argument("--layout", choices=LAYOUTS, default="channels_last_3d")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main():
    options = parsed_options()
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = options.tf32
    torch.backends.cuda.matmul.allow_tf32 = options.tf32
    torch.manual_seed(0)
    number, layout = NUMBERS[options.numbers], LAYOUTS[options.layout]
    net = Unet(options.channels, options.classes, options.downsampling).to(options.device, memory_format=layout)
    image = torch.randn(options.batch, 1, *options.patch, device=options.device).contiguous(memory_format=layout)
    clock, report = Clock(options.device, options.rounds), Report(options)

    short = number != torch.float32
    network = Network(net, options.device, number, autocast=short)
    training_parts(report, options, clock, network, image)
    inference_part(report, "inference", options, clock, network, image)
    if short:
        cast = Network(net.to(number), options.device, number, autocast=False)
        inference_part(report, "inference_cast", options, clock, cast, image)
    if not options.json:
        print(json.dumps(report.values, indent=2))


if __name__ == "__main__":
    main()
