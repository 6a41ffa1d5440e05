"""Runs our benchmark programs and PyTorch's by turns and prints ratios of medians.

python compare.py layers [--turns 4] [--avx2] [--stride 2]
python compare.py unet [--turns 3] [--patch 64,96,96]

Build ours first: cargo build --release -p organseg-benches --bins. PyTorch gets its better layout, and the
better of its default and its tuned memory setting, for each time by itself. `unet` also runs OpenVINO and ONNX
Runtime where they are installed (unet_runtimes.py), and bfloat16 where the processor multiplies it: elsewhere PyTorch
takes minutes for a prediction.
"""

import argparse
import importlib.util
import os
import pathlib
import statistics
import sys

from turns import TUNED, default_programs, run, script


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["layers", "unet"])
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--avx2", action="store_true")
    parser.add_argument("--patch", default="64,96,96")
    parser.add_argument("--layer", action="append", default=[])
    parser.add_argument("--stride", default="1", help="of the layers")
    parser.add_argument("--programs", default=default_programs())
    options = parser.parse_args()
    ours_env = {"RAYON_NUM_THREADS": "2"}
    theirs_env = {}
    if options.avx2:
        ours_env["ORGANSEG_ISA"] = "avx2"
        theirs_env = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    rounds = ["--rounds", str(options.rounds), "--json"]
    if options.what == "layers":
        layers = ["--stride", options.stride]
        layers += [part for layer in options.layer for part in ("--layer", layer)]
        ours = [os.path.join(options.programs, "conv3d_layers"), *layers, *rounds]
        theirs = [*script("conv3d_layers.py"), *layers, *rounds]
        variants = {"default": theirs, "tuned": theirs}
    else:
        patch = ["--patch", options.patch]
        ours = [os.path.join(options.programs, "unet_step"), *patch, *rounds]
        theirs = [*script("unet_step.py"), *patch, *rounds]
        last, bf16 = [*theirs, "--channels-last"], ["--bf16", "--what", "inference"]
        variants = {
            "default": theirs, "tuned": theirs, "default channels-last": last, "tuned channels-last": last,
        }
        runtimes = [("openvino", "openvino"), ("onnxruntime", "onnx")]
        if has_bfloat16():
            variants |= {"tuned bf16": [*theirs, *bf16], "tuned channels-last bf16": [*last, *bf16]}
            runtimes.append(("openvino", "openvino-bf16"))
        for module, runtime in runtimes:
            if importlib.util.find_spec(module):
                variants[runtime] = [*script("unet_runtimes.py"), "--runtime", runtime, *patch, *rounds]
    mine, others, peaks = {}, {}, {}
    for turn in range(options.turns):
        for name, command in [("ours", ours), *variants.items()]:
            mine_now = command is ours
            environment = {**theirs_env, **(TUNED if "tuned" in name else {})}
            answer = run(command, ours_env if mine_now else environment)
            for line in answer if isinstance(answer, list) else [answer]:
                peaks.setdefault(name, []).append(line.get("peak_mb"))
                for key, times in line.items():
                    if isinstance(times, list) and times:
                        place = mine if mine_now else others.setdefault(name, {})
                        place.setdefault((line.get("layer", options.patch), key), []).extend(times)
        print(f"turn {turn + 1} of {options.turns}", file=sys.stderr)
    for key, times in mine.items():
        time = statistics.median(times)
        same = (key[0], key[1].removesuffix("_changing"))
        theirs_times = {name: statistics.median(t[same]) for name, t in others.items() if same in t}
        text = "  ".join(f"{name} {t:.2f} ({t / time:.2f}x)" for name, t in theirs_times.items())
        print(f"{key[0]:<18} {key[1]:<16} ours {time:8.2f} ms   {text}")
    for name, values in peaks.items():
        if values and values[0]:
            print(f"peak memory {name}: {statistics.median(values):.0f} MB")


def has_bfloat16():
    """Whether the processor has instructions for products of bfloat16."""
    try:
        flags = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return True
    return "avx512_bf16" in flags or "amx_bf16" in flags or "bf16" in flags.split()


if __name__ == "__main__":
    main()
