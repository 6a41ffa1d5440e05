"""What the comparing scripts share: where our programs are, and one run of a program."""

import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent

# glibc's settings with which large arrays that are freed and made again keep their memory.
TUNED = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000", "MALLOC_TOP_PAD_": "1000000000"}


def default_programs():
    """The folder that cargo builds our programs into."""
    target = os.environ.get("CARGO_TARGET_DIR", str(HERE.parent.parent / "target"))
    return os.path.join(target, "release")


def script(name):
    """The start of the command that runs a script of this folder."""
    return [sys.executable, str(HERE / name)]


def run(command, extra):
    """The JSON that a program prints last, with `extra` in its environment."""
    out = subprocess.run(command, env={**os.environ, **extra}, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(out.stdout.strip().splitlines()[-1])
