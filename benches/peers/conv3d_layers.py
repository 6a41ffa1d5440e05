"""Times PyTorch's 3x3x3 convolutions as conv3d_layers does ours.

python conv3d_layers.py --layer 16,16,64,96,96 --rounds 20 --json

Both layouts are timed; who compares takes the better. For PyTorch's better memory setting run it with
MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_TOP_PAD_=1000000000, for AVX2 with
ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2.
"""

import argparse
import json
import statistics
import time

import torch

LAYERS = [
    "1,16,64,96,96", "16,16,64,96,96", "32,16,64,96,96", "32,32,64,96,96", "32,32,32,48,48",
    "64,64,16,24,24", "128,128,16,24,24", "256,256,8,12,12", "128,128,5,7,5",
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--layer", action="append", default=[])
    parser.add_argument("--stride", type=int, default=1, help="D, H, W of a layer are those of the input")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    result = []
    for layer in options.layer or LAYERS:
        inputs, outputs, *size = map(int, layer.split(","))
        line = {"layer": layer, "threads": options.threads}
        for layout in (torch.contiguous_format, torch.channels_last_3d):
            x = torch.randn(1, inputs, *size).to(memory_format=layout)
            w = torch.randn(outputs, inputs, 3, 3, 3).to(memory_format=layout)
            halved = [(n - 1) // options.stride + 1 for n in size]
            g = torch.randn(1, outputs, *halved).to(memory_format=layout)
            back = torch.ops.aten.convolution_backward
            args = (None, [options.stride] * 3, [1] * 3, [1] * 3, False, [0] * 3, 1)
            works = {
                "forward": lambda: torch.nn.functional.conv3d(x, w, stride=options.stride, padding=1),
                "input_gradient": lambda: back(g, x, w, *args, [True, False, False]),
                "weight_gradient": lambda: back(g, x, w, *args, [False, True, False]),
            }
            with torch.no_grad():
                for name, work in works.items():
                    times = []
                    for i in range(options.rounds + 1):
                        start = time.perf_counter()
                        work()
                        if i > 0:
                            times.append((time.perf_counter() - start) * 1e3)
                    best = line.get(name)
                    if best is None or statistics.median(times) < statistics.median(best):
                        line[name] = times
        result.append(line)
        if not options.json:
            print(layer, {k: round(statistics.median(v), 3) for k, v in line.items() if isinstance(v, list)})
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
