"""Times a prediction of MONAI's DynUNet, as in unet_step.py, by OpenVINO and ONNX Runtime.

python unet_runtimes.py --patch 64,96,96 --rounds 10 --json        # pip install openvino onnxruntime onnx onnxscript

--runtime openvino|openvino-bf16|onnx; two threads unless --threads says otherwise.
"""

import argparse
import json
import pathlib
import statistics
import tempfile
import time

import numpy as np
import torch
from monai.networks.nets import DynUNet


def openvino(net, x, threads, precision):
    import openvino

    model = openvino.convert_model(net, example_input=x, input=[list(x.shape)])
    options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(model, "CPU", options).create_infer_request()
    return lambda: request.infer({0: x.numpy()})


def onnx(net, x, threads):
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder) / "net.onnx")
        torch.onnx.export(net, (x,), path, input_names=["x"], dynamo=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x.numpy()})


def main():
    numbers = lambda text: [int(part) for part in text.split(",")]
    parser = argparse.ArgumentParser()
    parser.add_argument("--channels", type=numbers, default=[16, 32, 64, 128])
    parser.add_argument("--patch", type=numbers, default=[64, 96, 96])
    parser.add_argument("--classes", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runtime", choices=["openvino", "openvino-bf16", "onnx"], default="openvino")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(1)
    levels = len(options.channels)
    net = DynUNet(3, 1, options.classes, [3] * levels, [1] + [2] * (levels - 1), [2] * (levels - 1),
                  filters=options.channels, norm_name=("instance", {"affine": True})).eval()
    x = torch.randn(1, 1, *options.patch)
    with torch.no_grad():
        expected = net(x).numpy()
    if options.runtime == "onnx":
        run = onnx(net, x, options.threads)
        found = run()[0]
    else:
        run = openvino(net, x, options.threads, "bf16" if options.runtime.endswith("bf16") else "f32")
        found = next(iter(run().values()))
    error = float(np.abs(found - expected).max() / np.abs(expected).max())
    times = []
    for _ in range(options.rounds):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    if options.json:
        print(json.dumps({"inference": times, "threads": options.threads, "error": error}))
    else:
        print(f"{options.runtime}: {statistics.median(times):.1f} ms, largest difference to PyTorch {error:.1e}")


if __name__ == "__main__":
    main()
