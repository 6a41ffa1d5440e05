"""Runs volume_ops and its peers by turns and prints a table of medians and their ratios; compares values too.

python compare_volume.py --scan ct.nii.gz [--turns 3] [--rounds 5] [--operation cubic-f32] [--values]

Build ours first: cargo build --release -p organseg-benches --bin volume_ops. Both sides run with the default and with
the tuned memory setting where it is worth it. A package's best time counts, ours counts with the default setting.
Megabytes are the most in use beyond input and result; a result whose pages are not all touched (zeros) can make up
for some. With --values what the programs wrote is compared instead, voxel by voxel.
"""

import argparse
import os
import statistics
import sys
import tempfile

from turns import TUNED, default_programs, run, script
from volume_ops import OPERATIONS, default_operations

# The most of a package's best time that ours should take.
ASKED = {
    ("read-i16", "SimpleITK"): 0.55, ("read-f32", "SimpleITK"): 0.55,
    ("linear-i16", "SimpleITK"): 0.3, ("linear-f32", "SimpleITK"): 0.3,
    ("linear-i16", "torch"): 1.0, ("linear-f32", "torch"): 1.0,
    ("cubic-i16", "SimpleITK"): 0.1, ("cubic-f32", "SimpleITK"): 0.1,
    ("scores", "torch"): 1 / 3,
    ("components", "cc3d"): 1.0,
}
# The most megabytes beyond input and output.
ASKED_MEGABYTES = {"scores": 150}

# Values are compared with these; the border as far as its treatment reaches is left out, in voxels.
REFERENCES = {
    "read-i16": [("SimpleITK", 0)], "read-f32": [("SimpleITK", 0)],
    "linear-i16": [("SimpleITK", 0)], "linear-f32": [("SimpleITK", 0), ("torch", 0)],
    "cubic-i16": [("SimpleITK", 16)], "cubic-f32": [("SimpleITK", 16), ("scipy", 16)],
    "scores": [("torch comparison", 0), ("scikit-image", 0)],
    "dicom": [("SimpleITK", 0)],
    "components": [("cc3d u32", 0)],
}


def ours(options, operation, *more):
    return [os.path.join(options.programs, "volume_ops"), *arguments(options, operation), *more]


def theirs(options, operation, variant, *more):
    return [*script("volume_ops.py"), "--variant", variant, *arguments(options, operation), *more]


def arguments(options, operation):
    common = ["--json", "--scan", options.scan, "--operation", operation]
    common += ["--series", options.series] if options.series else []
    return [*common, "--rounds", str(options.rounds), "--threads", str(options.threads)]


def gather(options, operation):
    """By (who, memory setting): all times, and the lines that the programs gave."""
    commands = {("organseg", "default"): ours(options, operation), ("organseg", "tuned"): ours(options, operation)}
    for variant, (_, fast) in OPERATIONS[operation].items():
        for memory in ["default", "tuned"] if fast else ["default"]:
            commands[variant, memory] = theirs(options, operation, variant)
    lines = {}
    for turn in range(options.turns):
        for key, command in commands.items():
            slow = key[0] != "organseg" and not OPERATIONS[operation][key[0]][1]
            if not (slow and turn > 0):  # once is enough for what takes many times as long
                lines.setdefault(key, []).extend(run(command, TUNED if key[1] == "tuned" else {}))
        print(f"{operation}: turn {turn + 1} of {options.turns}", file=sys.stderr)
    return lines


def table(options, operation):
    lines = gather(options, operation)
    medians = {key: statistics.median(t for line in some for t in line["times"]) for key, some in lines.items()}
    mine = medians["organseg", "default"]
    best = {}
    for (variant, memory), time_ms in medians.items():
        package = variant.split()[0]
        best[package] = min(best.get(package, time_ms), time_ms)
    for (variant, memory), time_ms in medians.items():
        some = lines[variant, memory]
        package, beyond = variant.split()[0], statistics.median(line["beyond_mb"] for line in some)
        # Memory kept from before hides what is needed, so only the default setting tells.
        cells = [operation, variant, memory, f"{time_ms:.1f}", f"{max(beyond, 0):.0f}" if memory == "default" else ""]
        asked = ASKED.get((operation, package))
        if package == "organseg":
            cells += ["", asked_memory(operation, beyond) if memory == "default" else ""]
        else:
            counts = asked is not None and time_ms == best[package]
            verdict = f"at most {asked:.2f}: {'yes' if mine <= asked * time_ms else 'NO'}" if counts else ""
            cells += [f"{mine / time_ms:.3f}", verdict]
        if "file_mb" in some[0]:
            cells[4] += f"; file {some[0]['file_mb']:.1f}"
        print("| " + " | ".join(cells) + " |", flush=True)


def asked_memory(operation, beyond):
    asked = ASKED_MEGABYTES.get(operation)
    return "" if asked is None else f"at most {asked} MB: {'yes' if beyond <= asked else 'NO'}"


def values(options, operation):
    """How far our result is from each reference's, where there is something to compare."""
    if operation not in REFERENCES:
        return
    import nibabel
    import numpy

    with tempfile.TemporaryDirectory() as folder:
        mine_path = os.path.join(folder, "ours.nii")
        run(ours(options, operation, "--out", mine_path), {})
        mine = numpy.asanyarray(nibabel.load(mine_path).dataobj)
        for variant, border in REFERENCES[operation]:
            path = os.path.join(folder, "theirs.nii")
            run(theirs(options, operation, variant, "--out", path), {})
            other = numpy.asanyarray(nibabel.load(path).dataobj)
            inner = (slice(border, -border or None),) * 3
            print(f"{operation} beside {variant}: {difference(operation, mine[inner], other[inner])}", flush=True)


def difference(operation, mine, other):
    import numpy

    if mine.shape != other.shape:
        return f"sizes {mine.shape} and {other.shape} DIFFER"
    if operation == "components":
        count = int(mine.max())
        pairs = numpy.unique(mine.ravel(order="K").astype(numpy.uint64) << 32 | other.ravel(order="K"))
        same = len(pairs) == count + 1 == int(other.max()) + 1
        return f"{count} pieces, {'the same' if same else 'DIFFERENT'} ones"
    if operation == "scores":
        return f"{numpy.count_nonzero(mine != other)} of {mine.size} labels differ"
    apart = numpy.abs(mine.astype(numpy.float64) - other)
    extent = float(other.max()) - float(other.min())
    return f"at most {apart.max():.4g} apart, {apart.max() / extent:.2e} of the range; mean {apart.mean():.3g}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scan", required=True)
    parser.add_argument("--series", help="a folder with one DICOM series, for dicom")
    parser.add_argument("--operation", action="append", choices=list(OPERATIONS), default=[])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--values", action="store_true")
    parser.add_argument("--programs", default=default_programs())
    options = parser.parse_args()
    if options.values:
        options.rounds = 1
    else:
        print("| operation | package | memory setting | ms | MB besides | ours / its time | asked |")
        print("|---|---|---|---|---|---|---|")
    for operation in options.operation or default_operations(options):
        (values if options.values else table)(options, operation)


if __name__ == "__main__":
    main()
