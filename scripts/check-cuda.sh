#!/usr/bin/env bash
# Type-checks everything behind the features `cuda` and `cudnn` on a machine that has neither CUDA nor a card, in a few
# minutes: an `nvcc` that compiles nothing stands in for the real one, which candle's build wants to see. Nothing is
# linked, and what this leaves in target/check-cuda is of no other use. scripts/build-cuda.sh builds in earnest.
#
#   scripts/check-cuda.sh            both features, one after the other
#   scripts/check-cuda.sh cudnn      this one, which has the other in it
set -euo pipefail
cd "$(dirname "$0")/.."

stand_in="$PWD/target/check-cuda/toolkit"
mkdir -p "$stand_in/bin" "$stand_in/include" "$stand_in/lib64"
cat > "$stand_in/bin/nvcc" <<'SH'
#!/usr/bin/env bash
# Makes the files that nvcc would, empty.
out="" dir="" ptx="" sources=()
while [ $# -gt 0 ]; do
    case "$1" in
        --version) echo "Cuda compilation tools, release 13.0, V13.0.88"; exit 0 ;;
        -o) out="$2"; shift ;;
        --output-directory) dir="$2"; shift ;;
        --ptx) ptx=yes ;;
        *.cu) sources+=("$1") ;;
    esac
    shift
done
[ -n "$out" ] && : > "$out"
for source in "${sources[@]}"; do
    [ -n "$ptx" ] && [ -n "$dir" ] && : > "$dir/$(basename "$source" .cu).ptx"
done
exit 0
SH
chmod +x "$stand_in/bin/nvcc"

export CUDA_HOME="$stand_in" CUDA_PATH="$stand_in" CUDA_ROOT="$stand_in" CUDA_TOOLKIT_ROOT_DIR="$stand_in"
export NVCC="$stand_in/bin/nvcc" PATH="$stand_in/bin:$PATH" CUDA_COMPUTE_CAP=80 CUDARC_CUDA_VERSION=13000
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target/check-cuda}"
[ $# -gt 0 ] || set -- cuda cudnn
for features; do
    cargo clippy --workspace --all-targets --features "$features" --locked -- -D warnings
done
