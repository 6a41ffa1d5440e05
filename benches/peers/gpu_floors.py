"""How fast a card is at most, and the least time that it can have for each phase of a training step.

python gpu_floors.py [--device cpu]        # prints the rates as JSON

Rates are those of a large product of matrices, in each kind of numbers, and of a large copy, bytes read plus bytes
written. The floor of a phase is the larger of its operations over the one and its bytes over the other:

- operations: two for each product of the convolutions summed directly, transposed ones and the head included; forward
  once, backward twice (for the input and for the weights), but once for the first layer, whose input needs no gradient;
- bytes, forward: each layer (convolution, pooling, transposed convolution, head) reads its input and writes its output
  once, and norm and activation cost nothing, as if they were done on the way; the image, the scores and the weights in
  f32, all else in the numbers between the layers;
- bytes, loss: scores and one-hot truth are read;
- bytes, backward: the loss reads scores and truth again and writes the gradient of the scores; each layer reads its
  input and the gradient of its output and writes that of its input, and one followed by a norm reads its output too;
  weights are read and their gradients written;
- bytes, optimizer: the gradients are read twice (their norm comes first), weights and both moments read and written;
- a prediction: as forward.
"""

import argparse
import dataclasses
import json
import math
import statistics
import time

PHASES = ["forward", "loss", "backward", "optimizer"]
BYTES = {"f32": 4, "bf16": 2, "f16": 2}


@dataclasses.dataclass
class Layer:
    """What one layer computes, and how large what it reads and writes is."""

    products: int
    weights: int
    input_bytes: int
    output_bytes: int
    first: bool = False
    normed: bool = False

    def backward_products(self):
        return self.products * (1 if self.first else 2)

    def forward_bytes(self):
        return self.input_bytes + self.output_bytes

    def backward_bytes(self):
        return self.input_bytes * (1 if self.first else 2) + self.output_bytes * (2 if self.normed else 1)


def layers_of(network, number_bytes):
    """The layers of a network in the order that they run."""
    channels, classes = network["channels"], network["classes"]
    voxels = [network["batch"] * math.prod(network["patch"]) // 8**i for i in range(len(channels))]

    def size(level, count):
        return voxels[level] * count * number_bytes

    def convolution(inputs, outputs, level, input_bytes):
        weights = 27 * inputs * outputs
        return Layer(weights * voxels[level], weights + 2 * outputs, input_bytes, size(level, outputs), normed=True)

    def second(outputs, level):
        return convolution(outputs, outputs, level, size(level, outputs))

    first = dataclasses.replace(convolution(1, channels[0], 0, 4 * voxels[0]), first=True)
    layers = [first, second(channels[0], 0)]
    for i, (above, here) in enumerate(zip(channels, channels[1:]), 1):
        strided = network["downsampling"] == "strided"
        if not strided:
            layers.append(Layer(0, 0, size(i - 1, above), size(i, above)))
        layers.append(convolution(above, here, i, size(i - 1 if strided else i, above)))
        layers.append(second(here, i))
    for i in reversed(range(len(channels) - 1)):
        here, below = channels[i:i + 2]
        # Each voxel that it writes meets one place of the kernel.
        layers.append(Layer(voxels[i] * below * here, 8 * below * here + here, size(i + 1, below), size(i, here)))
        layers.append(convolution(2 * here, here, i, size(i, 2 * here)))
        layers.append(second(here, i))
    head = channels[0] * classes
    layers.append(Layer(voxels[0] * head, head + classes, size(0, channels[0]), 4 * voxels[0] * classes))
    return layers


def costs_of(network, number_bytes):
    """Operations and bytes of each phase and of a prediction."""
    layers = layers_of(network, number_bytes)
    weight_bytes = 4 * sum(layer.weights for layer in layers)
    score_bytes = layers[-1].output_bytes
    forward = {"operations": 2 * sum(layer.products for layer in layers),
               "bytes": sum(layer.forward_bytes() for layer in layers) + weight_bytes}
    backward = {"operations": 2 * sum(layer.backward_products() for layer in layers),
                "bytes": sum(layer.backward_bytes() for layer in layers) + 3 * score_bytes + 2 * weight_bytes}
    return {"forward": forward, "loss": {"operations": 0, "bytes": 2 * score_bytes}, "backward": backward,
            "optimizer": {"operations": 0, "bytes": 8 * weight_bytes}, "inference": dict(forward)}


def floors_of(network, numbers, tf32, rates):
    """The costs, and with known rates the milliseconds that they take at least; a step's is the sum of its phases'."""
    floors = costs_of(network, BYTES[numbers])
    if "operations_per_s" not in rates:
        return floors
    kind = "tf32" if numbers == "f32" and tf32 else numbers
    for cost in floors.values():
        cost["operations_ms"] = 1e3 * cost["operations"] / rates["operations_per_s"][kind]
        cost["bytes_ms"] = 1e3 * cost["bytes"] / rates["bytes_per_s"]
        cost["floor_ms"] = max(cost["operations_ms"], cost["bytes_ms"])
    floors["step"] = {"floor_ms": sum(floors[phase]["floor_ms"] for phase in PHASES)}
    return floors


def measured_rates(device):
    """Operations per second of a product of matrices for each kind of numbers, and bytes per second of a copy."""
    # Here alone: the floors themselves are had without it.
    import torch

    size, copied_bytes = (8192, 2**32) if device == "cuda" else (256, 2**24)

    def median_seconds(work):
        wait = torch.cuda.synchronize if device == "cuda" else lambda: None
        times = []
        for _ in range(13):
            wait()
            started = time.perf_counter()
            work()
            wait()
            times.append(time.perf_counter() - started)
        # The first ones are for warming up.
        return statistics.median(times[3:])

    operations = {}
    kinds = {"f32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
    for name, number in kinds.items():
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        a, b = (torch.randn(size, size, device=device).to(number) for _ in range(2))
        out = torch.empty_like(a)
        operations[name] = 2 * size**3 / median_seconds(lambda: torch.mm(a, b, out=out))
    source = torch.randint(255, (copied_bytes,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copied = 2 * copied_bytes / median_seconds(lambda: target.copy_(source))
    return {"operations_per_s": operations, "bytes_per_s": copied}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    print(json.dumps(measured_rates(parser.parse_args().device)))


if __name__ == "__main__":
    main()
