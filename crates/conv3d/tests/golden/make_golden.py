"""Writes golden.safetensors: every operation with its gradients, as PyTorch computes them in float32.

Needs torch, numpy and safetensors. Run it in this folder: python make_golden.py

Of each case NAME the file holds the arguments (NAME/x, NAME/weight, ...), the result NAME/y, the gradient
handed back NAME/grad_y, and the gradients NAME/grad_x, NAME/grad_weight, ... The header's metadata says, as
JSON, what each case is.
"""

import json

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(20261123)
tensors, cases = {}, {}


def record(name, operation, arguments, options):
    arguments = {key: value.requires_grad_() for key, value in arguments.items()}
    y = operation(*arguments.values())
    grad_y = torch.randn_like(y)
    y.backward(grad_y)
    tensors[f"{name}/y"] = y.detach().contiguous()
    tensors[f"{name}/grad_y"] = grad_y
    for key, value in arguments.items():
        tensors[f"{name}/{key}"] = value.detach().contiguous()
        tensors[f"{name}/grad_{key}"] = value.grad.contiguous()
    cases[name] = options


def conv(name, n, c_in, c_out, size, kernel, stride, padding, bias=True):
    arguments = {"x": torch.randn(n, c_in, *size), "weight": torch.randn(c_out, c_in, *kernel)}
    if bias:
        arguments["bias"] = torch.randn(c_out)
    record(
        name,
        lambda x, w, b=None: F.conv3d(x, w, b, stride=stride, padding=padding),
        arguments,
        {"op": "conv3d", "stride": stride, "padding": padding},
    )


conv("conv_3x3x3", 2, 3, 5, (4, 5, 6), (3, 3, 3), (1, 1, 1), (1, 1, 1))
conv("conv_long_rows", 1, 2, 7, (3, 4, 37), (3, 3, 3), (1, 1, 1), (1, 1, 1), bias=False)
conv("conv_stride_2", 1, 3, 4, (5, 6, 7), (3, 3, 3), (2, 2, 2), (1, 1, 1))
conv("conv_1x1x1", 2, 4, 3, (3, 4, 5), (1, 1, 1), (1, 1, 1), (0, 0, 0))
conv("conv_uneven", 1, 2, 3, (5, 6, 26), (1, 3, 5), (1, 1, 1), (0, 2, 1))
conv("conv_uneven_stride", 1, 2, 3, (6, 7, 9), (3, 1, 5), (2, 1, 3), (1, 0, 2))

for name, kernel, stride in [
    ("transposed_2x2x2", (2, 2, 2), (2, 2, 2)),
    ("transposed_overlapping", (3, 2, 4), (2, 1, 3)),
]:
    record(
        name,
        lambda x, w, b, stride=stride: F.conv_transpose3d(x, w, b, stride=stride),
        {"x": torch.randn(2, 3, 2, 3, 4), "weight": torch.randn(3, 4, *kernel), "bias": torch.randn(4)},
        {"op": "conv_transpose3d", "stride": stride},
    )

for name, kernel, stride in [("pool_2x2x2", (2, 2, 2), (2, 2, 2)), ("pool_overlapping", (3, 2, 3), (2, 1, 1))]:
    record(
        name,
        lambda x, kernel=kernel, stride=stride: F.max_pool3d(x, kernel, stride),
        {"x": torch.randn(2, 3, 5, 6, 7)},
        {"op": "max_pool3d", "kernel": kernel, "stride": stride},
    )

for name, slope in [("norm", 1.0), ("norm_leaky", 0.01), ("norm_relu", 0.0)]:
    record(
        name,
        lambda x, g, b, slope=slope: F.leaky_relu(F.instance_norm(x, weight=g, bias=b, eps=1e-5), slope),
        {"x": 3 + 2 * torch.randn(2, 3, 4, 5, 6), "gamma": torch.randn(3), "beta": torch.randn(3)},
        {"op": "instance_norm", "slope": slope, "eps": 1e-5},
    )

for name, mode, size in [
    ("upsample_linear", "trilinear", (6, 8, 10)),
    ("upsample_linear_uneven", "trilinear", (5, 4, 13)),
    ("upsample_nearest", "nearest", (6, 9, 7)),
]:
    align = {"align_corners": False} if mode == "trilinear" else {}
    record(
        name,
        lambda x, mode=mode, size=size, align=align: F.interpolate(x, size=size, mode=mode, **align),
        {"x": torch.randn(2, 3, 3, 4, 5)},
        {"op": "upsample", "mode": mode, "size": size},
    )

save_file(tensors, "golden.safetensors", metadata={"cases": json.dumps(cases), "torch": torch.__version__})
print(f"{len(cases)} cases, {sum(t.numel() for t in tensors.values())} numbers")
