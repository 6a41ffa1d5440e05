"""Small DICOM files in compressed transfer syntaxes. Needs SimpleITK, numpy, pydicom 3, pyjpegls, Pillow.

All but the baseline JPEG hold the same 16 x 8 pixels of 16 bits, lossless:
pixel (x, y) = (37 x x + 101 y + 4000 (x > 7)) mod 4096.
"""

import io

import numpy as np
import pydicom
import SimpleITK as sitk
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, JPEGLSLossless, RLELossless

y, x = np.mgrid[0:8, 0:16]
pixels = ((37 * x * x + 101 * y + 4000 * (x > 7)) % 4096).astype(np.uint16)

for name, compressor in [("jpeg_lossless", "JPEG"), ("jpeg_2000", "JPEG2000")]:
    image = sitk.GetImageFromArray(pixels[None])
    image.SetSpacing([0.5, 0.75, 2.5])
    tags = {
        "0008|0060": "CT",
        "0020|000e": "1.2.3.1",
        "0020|0011": "4",
        "0020|0032": "-10\\-20\\30",
        "0020|0037": "1\\0\\0\\0\\1\\0",
        "0018|0050": "2.5",
    }
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.KeepOriginalImageUIDOn()
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    writer.SetFileName(f"{name}.dcm")
    slice_ = image[:, :, 0]
    for tag, value in tags.items():
        slice_.SetMetaData(tag, value)
    writer.Execute(slice_)
    data_set = pydicom.dcmread(f"{name}.dcm")
    # What a CT slice has and the writer left out of a 2D image.
    data_set.ImagePositionPatient = [-10, -20, 30]
    data_set.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data_set.SliceThickness = 2.5
    data_set.pop("SpacingBetweenSlices", None)
    data_set.PixelSpacing = [0.75, 0.5]
    data_set.save_as(f"{name}.dcm")
    print(name, data_set.file_meta.TransferSyntaxUID, data_set.BitsAllocated, data_set.BitsStored, len(data_set.PixelData))
    assert (sitk.GetArrayFromImage(sitk.ReadImage(f"{name}.dcm")).squeeze() == pixels).all()

for name, syntax in [("rle", RLELossless), ("jpeg_ls", JPEGLSLossless)]:
    data_set = pydicom.dcmread("jpeg_lossless.dcm")
    data_set.compress(syntax, pixels, generate_instance_uid=False)
    data_set.save_as(f"{name}.dcm")
    print(name, data_set.file_meta.TransferSyntaxUID, len(data_set.PixelData))
    assert (sitk.GetArrayFromImage(sitk.ReadImage(f"{name}.dcm")).squeeze() == pixels).all()

# Eight bits, with loss: a ramp.
ramp = (8 * x + 4 * y).astype(np.uint8)
jpeg = io.BytesIO()
Image.fromarray(ramp, "L").save(jpeg, "JPEG", quality=95)
data_set.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
data_set.BitsAllocated = data_set.BitsStored = 8
data_set.HighBit = 7
data_set.LossyImageCompression = "01"
data_set.PixelData = encapsulate([jpeg.getvalue()])
data_set.save_as("jpeg_baseline.dcm")
