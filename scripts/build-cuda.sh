#!/usr/bin/env bash
# Builds with the features `cuda` and `cudnn` on a plain x86-64 Linux machine without CUDA and without a card, for a
# machine that has one.
#
#   scripts/build-cuda.sh              the command, stripped: target/cuda/organseg
#   scripts/build-cuda.sh check        the full check: the command, and all tests; those of a card say they are skipped
#   scripts/build-cuda.sh ARGUMENTS    cargo ARGUMENTS with everything set
#
# Needs python3 with venv and pip, gcc and g++, readelf, and 8 GB in target/cuda: compiler, headers and libraries of CUDA
# come from PyPI (some 2 GB unpacked), under NVIDIA's licences. The first build takes a quarter of an hour on two cores,
# most of it candle's kernels. CUDA_COMPUTE_CAP is the oldest card that those are for (80: A100 and later); ours are
# compiled where they run.
#
# Where the program runs it needs NVIDIA's driver, and CUDA 13's and cuDNN 9's libraries where the loader looks; those of
# PyTorch will do: LD_LIBRARY_PATH=$(ls -d SITE_PACKAGES/nvidia/*/lib | paste -sd:).
set -euo pipefail
cd "$(dirname "$0")/.."
root="$PWD/target/cuda"
toolkit="$root/toolkit"
mkdir -p "$root"

if [ ! -e "$toolkit/complete" ]; then
    rm -rf "$toolkit" "$root/venv"
    python3 -m venv "$root/venv"
    "$root/venv/bin/pip" install --quiet \
        "cuda-toolkit[nvcc,cudart,crt,nvvm,cccl,cublas,curand,nvrtc]==13.0.*" "nvidia-cudnn-cu13==9.*"
    site="$("$root/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nvidia"
    mkdir -p "$toolkit/lib64/stubs"
    ln -s "$site/cu13/bin" "$site/cu13/nvvm" "$toolkit/"
    # One folder of headers for candle's build, cuDNN's among them.
    mkdir "$toolkit/include"
    ln -s "$site"/cu13/include/* "$toolkit/include/"
    ln -s "$site"/cudnn/include/* "$toolkit/include/"
    for library in "$site"/cu13/lib/*.so* "$site"/cu13/lib/*.a "$site"/cudnn/lib/*.so*; do
        [ -e "$library" ] && ln -s "$library" "$toolkit/lib64/"
    done
    # The names without a version that the linker asks for.
    for library in "$toolkit"/lib64/*.so.*; do
        plain="${library%%.so.*}.so"
        [ -e "$plain" ] || ln -s "$(basename "$library")" "$plain"
    done
    ln -s lib64 "$toolkit/lib"
    # A driver that has no card, so that programs and tests start here and say so: each of its functions fails.
    {
        for name in $(grep -ohE '\bcu[A-Z][A-Za-z0-9_]*' "$toolkit/include/cuda.h" | sort -u); do
            case "$name" in
                cuDriverGetVersion) echo "int $name(int *version) { *version = 0; return 100; }" ;;
                cuGetErrorName) echo "int $name(int error, const char **name) { *name = \"CUDA_ERROR_NO_DEVICE\"; return 0 * error; }" ;;
                cuGetErrorString) echo "int $name(int error, const char **text) { *text = \"no CUDA-capable device: this is the stand-in for the driver\"; return 0 * error; }" ;;
                *) echo "int $name(void) { return 100; }" ;;
            esac
        done
    } > "$root/stub.c"
    cc -shared -fPIC -w -Wl,-soname,libcuda.so.1 -o "$toolkit/lib64/stubs/libcuda.so.1" "$root/stub.c"
    ln -s libcuda.so.1 "$toolkit/lib64/stubs/libcuda.so"
    touch "$toolkit/complete"
fi

export CUDA_HOME="$toolkit" CUDA_PATH="$toolkit" CUDA_ROOT="$toolkit" CUDA_TOOLKIT_ROOT_DIR="$toolkit"
export PATH="$toolkit/bin:$PATH" CUDA_COMPUTE_CAP="${CUDA_COMPUTE_CAP:-80}"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/build}"
# Libraries of the toolkit for what runs here. The stand-in driver is found only where there is no real one.
export LD_LIBRARY_PATH="$toolkit/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
if ! { ldconfig -p 2>/dev/null || /sbin/ldconfig -p; } | grep -F libcuda.so.1 > /dev/null; then
    LD_LIBRARY_PATH="$LD_LIBRARY_PATH:$toolkit/lib64/stubs"
fi
# One profile for the command and the tests, so that nvcc works once: without link-time optimisation, which dozens of
# tests would wait for.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16

if [ $# -gt 0 ] && [ "$1" != check ]; then
    exec cargo "$@"
fi
cargo build --release --locked -p organseg-cli --features cudnn
strip -o "$root/organseg" "$CARGO_TARGET_DIR/release/organseg"
needed="$(readelf -d "$root/organseg")"
for library in libcuda.so.1 libnvrtc.so.13 libcurand.so.10 libcublas.so.13 libcudnn.so.9 libcudart.so.13; do
    if ! grep -q "$library" <<< "$needed"; then
        echo "$root/organseg was linked without $library" >&2
        exit 1
    fi
done
ls -l "$root/organseg"
if [ "${1-}" = check ]; then
    cargo test --release --locked --workspace --features cudnn
fi
