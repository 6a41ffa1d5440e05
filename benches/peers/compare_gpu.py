"""Runs our GPU benchmark and PyTorch's by turns, for both networks, and writes one JSON and a small table.

python compare_gpu.py --ours gpu_step --out compare_gpu.json                  # on a machine with a card
python compare_gpu.py --numbers f32 [--tf32]
python compare_gpu.py --device cpu --no-compile --channels 8,16 --patch 32,32,32 --ours PROGRAM   # tries this script

Ours is built by scripts/build-cuda.sh build --release -p organseg-benches --features cudnn --bin gpu_step, and finds
CUDA's libraries in PyTorch's packages where it has none of its own. No cargo is needed where this runs.

What is run. PyTorch in two layouts, eager and through torch.compile, for predictions also with weights that were cast
beforehand; for each figure its best variant counts. Ours runs before each variant, so that both see the same card.
First come the compilations of all variants at once, whose results are thrown away and stay in a cache, then the compiled
ones, then what is eager, then all again as long as there is time; after --minutes it ends. What runs out of time
or memory, or fails, is told in the JSON and the table, and the rest goes on. The JSON is written after each run.

Peaks are the most bytes in use, in PyTorch's allocator and in the driver's for ours: without what either keeps in
reserve, and without what the driver and the libraries hold by themselves.

Floors. The card's matrix rate and bandwidth are measured first; gpu_floors.py says how operations and bytes are
counted.
"""

import argparse
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time

from gpu_floors import BYTES, PHASES, floors_of
from turns import default_programs, script

# One as large as nnU-Net's usual ones, and organseg's `UnetConfig::default()`.
NETWORKS = {
    "large": {"channels": [32, 64, 128, 256, 320], "downsampling": "strided", "classes": 3,
              "patch": [128, 128, 128], "batch": 2},
    "default": {"channels": [16, 32, 64, 128], "downsampling": "pooled", "classes": 2,
                "patch": [64, 96, 96], "batch": 1},
}
OURS = "ours"
EAGER = {f"torch {layout}": ["--layout", layout] for layout in ("channels_last_3d", "contiguous")}
COMPILED = {f"{name}, compiled": [*arguments, "--compile"] for name, arguments in EAGER.items()}
# What is compared: the parts of a report that it is in, of which the better counts, and its key there.
FIGURES = {
    "step_ms": (["step"], "rounds_ms"),
    "inference_ms": (["inference", "inference_cast"], "rounds_ms"),
    "step_peak_bytes": (["step"], "peak_bytes"),
    "inference_peak_bytes": (["inference", "inference_cast"], "peak_bytes"),
}

# Below this nothing is begun.
LEAST_SECONDS = 20


# Running programs


class Run:
    """A program that prints JSON, with what it starts itself."""

    def __init__(self, command, extra):
        self.out, self.log = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")
        # A group of its own, to stop what torch.compile starts along with it.
        self.process = subprocess.Popen(command, env={**os.environ, **extra}, stdout=self.out, stderr=self.log,
                                        preexec_fn=os.setpgrp)

    def report(self, seconds):
        """The last JSON that it printed, with `error` if it did not end well within so many seconds."""
        error = None
        try:
            if self.process.wait(max(seconds, 0)) != 0:
                error = f"ended with {self.process.returncode}: {text_of(self.log).strip()[-500:]}"
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            error = "timed out"
        report = last_json(text_of(self.out))
        return {**report, "error": error} if error else report


def text_of(file):
    file.seek(0)
    return file.read()


def last_json(text):
    for line in reversed(text.splitlines()):
        try:
            return json.loads(line)
        except json.JSONDecodeError:
            # A line that was being printed when the program was stopped.
            continue
    return {}


def report_of(command, extra, seconds):
    try:
        return Run(command, extra).report(seconds)
    except OSError as error:
        return {"error": str(error)}


def arguments_of(network, options):
    """What both programs are told."""
    texts = {name: ",".join(map(str, value)) if isinstance(value, list) else str(value)
             for name, value in network.items()}
    arguments = [part for name, text in texts.items() for part in (f"--{name}", text)]
    return [*arguments, "--numbers", options.numbers, *(["--tf32"] if options.tf32 else []), "--json"]


def our_command(network, options):
    return [options.ours, *arguments_of(network, options), "--rounds", str(options.rounds)]


def torch_command(network, variant, options, rounds):
    arguments = [*arguments_of(network, options), *variant, "--device", options.device, "--rounds", str(rounds)]
    return [*script("gpu_step.py"), *arguments]


def our_environment():
    """The loader's path with the libraries of PyTorch's packages at its end."""
    packages = pathlib.Path(sysconfig.get_path("purelib")) / "nvidia"
    folders = [os.environ.get("LD_LIBRARY_PATH", ""), *map(str, sorted(packages.glob("*/lib")))]
    return {"LD_LIBRARY_PATH": ":".join(folder for folder in folders if folder)}


# What came out


def best_of(runs, name):
    """A figure of one variant: of its better part the median of the rounds of all runs, or the most bytes."""
    parts, key = FIGURES[name]
    values = []
    for part in parts:
        found = [run[part][key] for run in runs if part in run and run[part][key] is not None]
        if found:
            values.append(max(found) if key == "peak_bytes" else statistics.median(sum(found, [])))
    return min(values, default=None)


def phases_of(runs):
    """The median over the runs of each phase, in milliseconds."""
    times = {}
    for run in runs:
        for phase, time_ms in run.get("phases_ms", {}).items():
            times.setdefault(phase, []).append(time_ms)
    return {phase: statistics.median(each) for phase, each in times.items()}


def errors_of(runs):
    """What failed and did in no run succeed."""
    errors = {}
    for run in runs:
        errors.update(run.get("errors", {}))
        if "error" in run:
            errors["run"] = run["error"]
    good = {part for run in runs for part in run} | ({"run"} if any("error" not in run for run in runs) else set())
    return {part: error for part, error in errors.items() if part not in good}


def summary_of(runs):
    figures = {name: best_of(runs, name) for name in FIGURES}
    return {**figures, "phases_ms": phases_of(runs), "errors": errors_of(runs)}


def ratios_of(summaries):
    """For each figure PyTorch's best variant, and how many times as fast ours is or its share of that memory."""
    ratios = {}
    for name in FIGURES:
        ours = summaries.get(OURS, {}).get(name)
        theirs = {variant: summary[name] for variant, summary in summaries.items()
                  if variant != OURS and summary[name] is not None}
        if ours is None or not theirs:
            continue
        best = min(theirs, key=theirs.get)
        is_memory = name.endswith("bytes")
        ratio = ours / theirs[best] if is_memory else theirs[best] / ours
        ratios[name] = {"best": best, "share" if is_memory else "times_as_fast": ratio}
    return ratios


class Comparison:
    """All that is known, and the file that holds it."""

    def __init__(self, options, networks):
        self.options, self.rates = options, {}
        self.networks = networks
        self.runs = {name: {} for name in networks}

    def add(self, network, variant, report):
        self.runs[network].setdefault(variant, []).append(report)
        print(f"{network}, {variant}: {report.get('error') or report.get('errors') or 'done'}", file=sys.stderr)
        self.write()

    def result(self):
        everything = [run for runs in self.runs.values() for each in runs.values() for run in each]
        result = {"card": next((run["card"] for run in everything if "card" in run), None),
                  "programs": sorted({run["program"] for run in everything if "program" in run}),
                  "numbers": self.options.numbers, "tf32": self.options.tf32, "rates": self.rates, "networks": {}}
        for name, network in self.networks.items():
            summaries = {variant: summary_of(runs) for variant, runs in self.runs[name].items()}
            floors = floors_of(network, self.options.numbers, self.options.tf32, self.rates)
            result["networks"][name] = {
                "network": network, "floors": floors, "summary": summaries,
                "ours_against_best": ratios_of(summaries), "runs": self.runs[name],
            }
        return result

    def write(self):
        with open(self.options.out, "w") as file:
            json.dump(self.result(), file, indent=1)


def shown(value, form=".2f"):
    return "-" if value is None else format(value, form)


def print_table(result):
    tf32 = ", TF32" if result["tf32"] else ""
    print(f"{result['card']}, {result['numbers']}{tf32}, {' and '.join(result['programs'])}")
    if "error" in result["rates"]:
        print(f"rates: {result['rates']['error']}")
    for name, network in result["networks"].items():
        print(f"\n{name}: {network['network']}")
        print_row("", ["step ms", "inference ms", "step MiB", "inference MiB"])
        for variant, summary in network["summary"].items():
            print_row(variant, [shown(in_table(name, summary[name])) for name in FIGURES])
            for part, error in summary["errors"].items():
                print(f"    {part}: {error}")
        for line in {line for run in network["runs"].get(OURS, []) for line in run.get("without_cudnn", [])}:
            print(f"    ours, not by cuDNN: {line}")
        ratios = [network["ours_against_best"].get(name, {}) for name in FIGURES]
        print_row("times as fast, share of memory",
                  [shown(ratio.get("times_as_fast", ratio.get("share"))) for ratio in ratios])
        print_phases(network)


def in_table(name, value):
    return value / 2**20 if value is not None and name.endswith("bytes") else value


def print_row(head, cells):
    print(f"{head:34}" + "".join(f"{cell:>16}" for cell in cells))


def print_phases(network):
    ours = network["summary"].get(OURS, {})
    measured = {**ours.get("phases_ms", {}), "step": ours.get("step_ms"), "inference": ours.get("inference_ms")}
    print_row("", ["operations ms", "bytes ms", "floor ms", "ours ms", "times the floor"])
    for phase in [*PHASES, "step", "inference"]:
        cost, ours_ms = network["floors"].get(phase, {}), measured.get(phase)
        floor_ms = cost.get("floor_ms")
        times = ours_ms / floor_ms if ours_ms and floor_ms else None
        print_row(phase, map(shown, [cost.get("operations_ms"), cost.get("bytes_ms"), floor_ms, ours_ms, times]))


# In which order


class Schedule:
    """Runs what there is to run until the time is over."""

    def __init__(self, options, networks, folder):
        self.options, self.networks = options, networks
        self.ends = time.monotonic() + 60 * options.minutes
        self.comparison = Comparison(options, networks)
        # Where torch.compile keeps what it made.
        self.cache = {"TORCHINDUCTOR_CACHE_DIR": folder, "TORCHINDUCTOR_FX_GRAPH_CACHE": "1",
                      "TORCHINDUCTOR_AUTOGRAD_CACHE": "1"}

    def left(self):
        return self.ends - time.monotonic()

    def all(self):
        command = [*script("gpu_floors.py"), "--device", self.options.device]
        self.comparison.rates = report_of(command, {}, min(self.left(), self.options.run_seconds))
        compiled = COMPILED if self.options.compile else {}
        if compiled:
            self.compile_ahead()
        for turn in range(self.options.turns):
            self.turn(compiled, turn)
            self.turn(EAGER, turn)
        return self.comparison.result()

    def turn(self, variants, turn):
        for variant, arguments in variants.items():
            for name, network in self.networks.items():
                self.one(name, OURS, our_command(network, self.options), our_environment(), turn)
                command = torch_command(network, arguments, self.options, self.options.rounds)
                self.one(name, variant, command, self.cache, turn)

    def one(self, name, variant, command, extra, turn):
        seconds = min(self.left(), self.options.run_seconds)
        if seconds >= LEAST_SECONDS:
            self.comparison.add(name, variant, report_of(command, extra, seconds))
        elif turn == 0:
            self.comparison.add(name, variant, {"error": "no time was left"})

    def compile_ahead(self):
        """All compilations at once; the runs that count find them in the cache."""
        jobs = [(network, arguments) for arguments in COMPILED.values() for network in self.networks.values()]
        threads = {"TORCHINDUCTOR_COMPILE_THREADS": str(max(1, (os.cpu_count() or 1) // len(jobs)))}
        ends = time.monotonic() + min(self.options.compile_seconds, self.left())
        runs = [Run(torch_command(network, arguments, self.options, 1), {**self.cache, **threads})
                for network, arguments in jobs]
        for started in runs:
            started.report(ends - time.monotonic())


def parsed_options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    numbers = lambda text: [int(part) for part in text.split(",")]
    parser.add_argument("--ours", default=os.path.join(default_programs(), "gpu_step"), help="our program")
    parser.add_argument("--out", default="compare_gpu.json", help="the JSON to write")
    parser.add_argument("--network", choices=NETWORKS, action="append", help="this network alone; both by default")
    parser.add_argument("--numbers", choices=BYTES, default="bf16", help="numbers between the layers")
    parser.add_argument("--tf32", action="store_true", help="let f32 convolutions of both round to TF32")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--turns", type=int, default=2, help="how often all is run, as far as there is time")
    parser.add_argument("--rounds", type=int, default=6, help="rounds of five runs in each turn")
    parser.add_argument("--minutes", type=float, default=8, help="when to end")
    parser.add_argument("--compile-seconds", type=float, default=150, help="for all compilations together")
    parser.add_argument("--run-seconds", type=float, default=100, help="for one run of a program")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="PyTorch's; cpu tries this script")
    parser.add_argument("--channels", type=numbers, help="instead of each network's own")
    parser.add_argument("--patch", type=numbers, help="instead of each network's own")
    return parser.parse_args()


def main():
    options = parsed_options()
    options.ours = os.path.abspath(options.ours)
    instead = {name: value for name in ("channels", "patch") if (value := getattr(options, name))}
    networks = {name: {**NETWORKS[name], **instead} for name in options.network or NETWORKS}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        print_table(Schedule(options, networks, folder).all())


if __name__ == "__main__":
    main()
