"""Golden numbers for `monai.rs`: networks of MONAI's, drawn from a seed, and what they give.

Needs PyTorch and MONAI (made with torch 2.15.0, monai 1.6.1). Writes, beside itself,
`basic_unet.pt`, `batch_norm.pt`, `dynunet.safetensors` and `uneven.safetensors` with the state dicts, and `monai_logits.safetensors` with some of
the scores of each.
"""

import json
import math
import struct
from pathlib import Path

import torch
from monai.networks.nets import BasicUNet, DynUNet

FOLDER = Path(__file__).parent
SIZE = (32, 16, 16)
EVERY = 13


def save_file(tensors, path):
    """Writes safetensors: the length of a header, the header, the numbers."""
    header, data = {}, b""
    for name, tensor in tensors.items():
        numbers = tensor.numpy().tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + len(numbers)],
        }
        data += numbers
    header = json.dumps(header).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


def image():
    """The image that the test makes by the same formula."""
    count = math.prod(SIZE)
    values = [math.sin(0.37 * i) + math.cos(0.011 * i) for i in range(count)]
    return torch.tensor(values, dtype=torch.float64).float().reshape(1, 1, *SIZE)


def scramble(network):
    """Norms, biases and running statistics that are not 1 and 0."""
    for parameter in network.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, 0.5, 0.5)
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            torch.nn.init.normal_(buffer, 0.0, 0.2)
        elif name.endswith("running_var"):
            torch.nn.init.uniform_(buffer, 0.2, 1.5)
    return network.eval()


torch.manual_seed(1)
basic = scramble(
    BasicUNet(spatial_dims=3, in_channels=1, out_channels=2, features=(1, 1, 2, 4, 8, 1))
)
dynunet = scramble(
    DynUNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=3,
        kernel_size=[3] * 4,
        strides=[1, 2, 2, 2],
        upsample_kernel_size=[2] * 3,
        filters=[2, 3, 4, 5],
        deep_supervision=True,
        deep_supr_num=1,
    )
)
batch_norm = scramble(
    BasicUNet(
        spatial_dims=3, in_channels=1, out_channels=2, features=(1, 1, 2, 4, 8, 1), norm="batch"
    )
)
uneven_strides = [[1, 2, 2], [2, 1, 2], [2, 2, 1]]
uneven = scramble(
    DynUNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=2,
        kernel_size=[3] * 4,
        strides=[1, *uneven_strides],
        upsample_kernel_size=uneven_strides,
        filters=[2, 3, 4, 5],
    )
)
logits = {}
networks = [("basic_unet", basic), ("batch_norm", batch_norm), ("dynunet", dynunet), ("uneven", uneven)]
for name, network in networks:
    with torch.no_grad():
        logits[name] = network(image()).flatten()[::EVERY].contiguous()
torch.save(basic.state_dict(), FOLDER / "basic_unet.pt")
torch.save({"model": batch_norm.state_dict()}, FOLDER / "batch_norm.pt")
own = {k: v.contiguous().clone() for k, v in dynunet.state_dict().items()}
# The second names are needed once, to see that they are ignored.
kept = {k: v for k, v in own.items() if not k.startswith("skip_layers.") or k.endswith("super_head.conv.conv.bias")}
save_file(kept, FOLDER / "dynunet.safetensors")
own = {k: v.contiguous().clone() for k, v in uneven.state_dict().items() if not k.startswith("skip_layers.")}
save_file(own, FOLDER / "uneven.safetensors")
save_file(logits, FOLDER / "monai_logits.safetensors")
