"""Makes the scan that volume_ops times: a coarse CT brought to the size of a fine one, with noise.

python volume_scan.py --source $ORGANSEG_DATA/ct_abdomen/ct_3mm.nii.gz --out ct.nii.gz

Linear upsampling between the outer faces, normal noise of a fixed seed, rounded to int16, gzip level 6: noise is
what makes a scan hard to compress and gives thresholds of it many small pieces.
"""

import argparse

import nibabel
import numpy
import torch

NOISE_HU = 12.0
GZIP_LEVEL = 6


def scan(source, size, seed):
    """The image `source` at `size` voxels, with noise, as a nibabel image of int16."""
    image = nibabel.load(source)
    coarse = torch.from_numpy(numpy.asarray(image.dataobj, dtype=numpy.float32))[None, None]
    fine = torch.nn.functional.interpolate(coarse, size=size, mode="trilinear", align_corners=False)[0, 0].numpy()
    random = numpy.random.default_rng(seed)
    for plane in range(size[2]):  # the noise of a plane at a time, to need little memory
        fine[:, :, plane] += random.normal(0.0, NOISE_HU, size[:2]).astype(numpy.float32)
    voxels = numpy.rint(fine).clip(-32768, 32767).astype(numpy.int16)
    scale = numpy.array(image.shape) / size
    affine = image.affine.copy()
    affine[:3, :3] = image.affine[:3, :3] * scale
    affine[:3, 3] += image.affine[:3, :3] @ ((scale - 1) / 2)  # the outer corner stays where it is
    made = nibabel.Nifti1Image(voxels, affine)
    made.header.set_xyzt_units("mm")
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--size", default="512,512,240")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    nibabel.openers.Opener.default_compresslevel = GZIP_LEVEL
    nibabel.save(scan(options.source, tuple(map(int, options.size.split(","))), options.seed), options.out)


if __name__ == "__main__":
    main()
