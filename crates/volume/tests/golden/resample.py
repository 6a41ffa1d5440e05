"""Writes resample.json: a small image on other grids, by scipy, SimpleITK and scikit-image.

Needs numpy, scipy, SimpleITK and scikit-image. Made with numpy 2.4.6, scipy 1.17.1, SimpleITK 2.5.7 and scikit-image
0.26.0. Arrays are indexed [z, y, x], so that they flatten with x fastest.
"""

import json

import numpy
import scipy.ndimage
import SimpleITK
import skimage.transform

SIZE = (10, 12, 14)
# The target's voxels: centres within the image's outermost centres.
TARGET, SPACING, ORIGIN = (7, 8, 9), (1.41, 1.3, 1.6), (0.2, 1.1, 0.15)
SHRUNK = (4, 5, 8)

z, y, x = numpy.meshgrid(*(numpy.arange(n) for n in SIZE), indexing="ij")
image = ((7 * x * x + 13 * y * y + 29 * z * z + 5 * x * y + 3 * y * z + 11 * x * z) % 97).astype(numpy.float64)


def scipy_spline(order):
    return scipy.ndimage.affine_transform(
        image, numpy.diag(SPACING), ORIGIN, output_shape=TARGET, order=order, mode="mirror"
    )


def itk_cubic():
    resample = SimpleITK.ResampleImageFilter()
    resample.SetSize(TARGET[::-1])
    resample.SetOutputSpacing(SPACING[::-1])
    resample.SetOutputOrigin(ORIGIN[::-1])
    resample.SetInterpolator(SimpleITK.sitkBSpline)
    return SimpleITK.GetArrayFromImage(resample.Execute(SimpleITK.GetImageFromArray(image)))


def smooth():
    return skimage.transform.resize(image, SHRUNK, order=1, mode="edge", anti_aliasing=True, preserve_range=True)


def flat(array):
    return [round(float(value), 6) for value in array.ravel()]


results = {"scipy_linear": scipy_spline(1), "scipy_cubic": scipy_spline(3), "itk_cubic": itk_cubic(), "skimage": smooth()}
with open("resample.json", "w") as file:
    json.dump({name: flat(array) for name, array in results.items()}, file)
    file.write("\n")
