"""Times reading, writing, resampling and components of a scan in Python's packages as volume_ops does in ours.

python volume_ops.py --scan ct.nii.gz --operation linear-f32 --rounds 7 --json

Needs nibabel, SimpleITK, torch, scipy, scikit-image and connected-components-3d. Each variant of each operation runs
in a process of its own: the first round warms up and tells the memory, times are those of the others. For the
memory setting that suits large arrays run it with MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000
MALLOC_TOP_PAD_=1000000000. The array packages start from arrays in memory, with x fastest as in the file.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

THRESHOLD_HU = 150
AIR_HU = -1024
ENOUGH_SECONDS = 10.0  # no further round begins after this long


class Work:
    """One thing to time: `run` is timed, `array` turns its result into a numpy array [x, y, z]."""

    def __init__(self, run, array=lambda result: result, bytes_of=lambda result: result.nbytes):
        self.run, self.array, self.bytes_of = run, array, bytes_of


def voxels(options, dtype):
    """The scan as a numpy array [z, y, x], contiguous."""
    import nibabel
    import numpy

    stored = numpy.asanyarray(nibabel.load(options.scan).dataobj)
    return numpy.ascontiguousarray(stored.T, dtype=dtype)


def spacing(options):
    """Millimetres along (z, y, x)."""
    import nibabel

    return [float(length) for length in nibabel.load(options.scan).header.get_zooms()[::-1]]


def one_millimetre_size(options):
    """Voxels along (z, y, x) at 1 mm."""
    import nibabel

    size = nibabel.load(options.scan).shape[::-1]
    return tuple(max(1, int(n * length + 0.5)) for n, length in zip(size, spacing(options)))


# SimpleITK


def sitk(options):
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(options.threads)
    return SimpleITK


def sitk_work(run):
    import SimpleITK

    size = {SimpleITK.sitkUInt8: 1, SimpleITK.sitkInt16: 2, SimpleITK.sitkUInt16: 2, SimpleITK.sitkUInt32: 4, SimpleITK.sitkFloat32: 4}
    return Work(
        run,
        lambda image: SimpleITK.GetArrayViewFromImage(image).T,
        lambda image: image.GetNumberOfPixels() * size[image.GetPixelID()],
    )


def sitk_read(dtype):
    def prepare(options):
        itk = sitk(options)
        pixel = itk.sitkInt16 if dtype == "int16" else itk.sitkFloat32
        return sitk_work(lambda: itk.ReadImage(options.scan, pixel))

    return prepare


def sitk_dicom(options):
    itk = sitk(options)

    def run():
        reader = itk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(options.series))
        return reader.Execute()

    return sitk_work(run)


def sitk_write(options):
    itk = sitk(options)
    image = itk.ReadImage(options.scan, itk.sitkInt16)
    return writing(lambda path: itk.WriteImage(image, path))


def sitk_resample(dtype, interpolator):
    def prepare(options):
        itk = sitk(options)
        image = itk.ReadImage(options.scan, itk.sitkInt16 if dtype == "int16" else itk.sitkFloat32)
        size = one_millimetre_size(options)[::-1]
        # The outer corner stays where it is.
        first = [(1.0 / length - 1.0) / 2.0 for length in image.GetSpacing()]
        origin = image.TransformContinuousIndexToPhysicalPoint(first)
        resample = itk.ResampleImageFilter()
        resample.SetSize([int(n) for n in size])
        resample.SetOutputSpacing([1.0] * 3)
        resample.SetOutputOrigin(origin)
        resample.SetOutputDirection(image.GetDirection())
        resample.SetInterpolator(getattr(itk, interpolator))
        resample.SetDefaultPixelValue(AIR_HU)
        return sitk_work(lambda: resample.Execute(image))

    return prepare


def sitk_components(options):
    itk = sitk(options)
    mask = itk.ReadImage(options.scan, itk.sitkInt16) > THRESHOLD_HU
    return sitk_work(lambda: itk.ConnectedComponent(mask, True))


# nibabel


def nibabel_read(dtype):
    def prepare(options):
        import nibabel
        import numpy

        if dtype == "int16":
            return Work(lambda: numpy.asanyarray(nibabel.load(options.scan).dataobj))
        return Work(lambda: nibabel.load(options.scan).get_fdata(dtype=numpy.float32))

    return prepare


def nibabel_write(options):
    import nibabel
    import numpy

    image = nibabel.load(options.scan)
    image = nibabel.Nifti1Image(numpy.asanyarray(image.dataobj), image.affine)
    return writing(lambda path: nibabel.save(image, path))


def writing(write):
    """Work that calls `write` with a path; its result is the size of the file."""
    path = os.path.join(tempfile.gettempdir(), f"volume_ops_{os.getpid()}.nii.gz")

    def run():
        write(path)
        return path

    return Work(run, array=None, bytes_of=lambda path: 0)


# Array packages


def torch_linear(options):
    import torch

    torch.set_num_threads(options.threads)
    image = torch.from_numpy(voxels(options, "float32"))[None, None]
    size = one_millimetre_size(options)
    return Work(
        lambda: torch.nn.functional.interpolate(image, size=size, mode="trilinear", align_corners=False),
        lambda result: result[0, 0].numpy().T,
        lambda result: result.numel() * result.element_size(),
    )


def scores(options):
    """Scores of two classes on a quarter of the scan's grid, [class, z, y, x]: the second leads above 100 HU.

    Single voxels, noise and all, so that both programs have the same to the bit; a network's are smoother.
    """
    import numpy

    image = voxels(options, "float32")
    beside = numpy.ix_(*(numpy.minimum(numpy.arange(0, n, 4) + 2, n - 1) for n in image.shape))
    first = numpy.float32(1.5) - image[beside] / numpy.float32(200)
    return numpy.stack([first, image[::4, ::4, ::4] / numpy.float32(100)]), image.shape


def torch_scores(decide):
    def prepare(options):
        import torch

        torch.set_num_threads(options.threads)
        values, size = scores(options)
        coarse = torch.from_numpy(values)[None]

        def enlarge(tensor):
            return torch.nn.functional.interpolate(tensor, size=size, mode="trilinear", align_corners=False)

        return Work(
            lambda: decide(coarse, enlarge),
            lambda result: result.numpy().T,
            lambda result: result.numel() * result.element_size(),
        )

    return prepare


def by_arg_max(coarse, enlarge):
    import torch

    return enlarge(coarse)[0].argmax(0).to(torch.uint8)


def by_comparison(coarse, enlarge):
    import torch

    fine = enlarge(coarse)[0]
    return (fine[1] > fine[0]).view(torch.uint8)


def by_difference(coarse, enlarge):
    """What only two classes allow: the difference is as linear as the scores."""
    import torch

    return (enlarge(coarse[:, 1:] - coarse[:, :1])[0, 0] > 0).view(torch.uint8)


def skimage_scores(options):
    """nnU-Net's default way: class by class in double precision, then the arg-max."""
    import numpy
    from skimage.transform import resize

    values, size = scores(options)

    def run():
        fine = numpy.zeros((len(values), *size), dtype=values.dtype)
        double = values.astype(float)
        for into, of in zip(fine, double):
            into[:] = resize(of, size, 1, mode="edge", anti_aliasing=False)
        return fine.argmax(0).astype(numpy.uint8)

    return Work(run, lambda result: result.T)


def scipy_cubic(dtype):
    def prepare(options):
        import scipy.ndimage

        image = voxels(options, dtype)
        factors = [new / old for new, old in zip(one_millimetre_size(options), image.shape)]
        zoom = scipy.ndimage.zoom
        return Work(
            lambda: zoom(image, factors, order=3, mode="reflect", grid_mode=True), lambda result: result.T
        )

    return prepare


def scipy_components(options):
    import numpy
    import scipy.ndimage

    mask = voxels(options, "int16") > THRESHOLD_HU
    structure = numpy.ones((3, 3, 3), dtype=bool)
    return Work(lambda: scipy.ndimage.label(mask, structure)[0], lambda result: result.T)


def cc3d_components(**settings):
    def prepare(options):
        import cc3d

        mask = voxels(options, "int16") > THRESHOLD_HU
        if settings.get("binary_image"):
            mask = mask.view("uint8")
        return Work(
            lambda: cc3d.connected_components(mask, connectivity=26, **settings), lambda result: result.T
        )

    return prepare


# Whether the memory setting is worth trying too: not for those that take many seconds anyway.
FAST, SLOW = True, False
OPERATIONS = {
    "read-i16": {"nibabel": (nibabel_read("int16"), FAST), "SimpleITK": (sitk_read("int16"), FAST)},
    "read-f32": {"nibabel": (nibabel_read("float32"), FAST), "SimpleITK": (sitk_read("float32"), FAST)},
    "write": {"nibabel": (nibabel_write, SLOW), "SimpleITK": (sitk_write, SLOW)},
    # PyTorch interpolates floats only: its time stands beside that for integers too, without conversions.
    "linear-i16": {"SimpleITK": (sitk_resample("int16", "sitkLinear"), FAST), "torch f32": (torch_linear, FAST)},
    "linear-f32": {"SimpleITK": (sitk_resample("float32", "sitkLinear"), FAST), "torch": (torch_linear, FAST)},
    "cubic-i16": {"SimpleITK": (sitk_resample("int16", "sitkBSpline"), SLOW), "scipy": (scipy_cubic("int16"), SLOW)},
    "cubic-f32": {
        "SimpleITK": (sitk_resample("float32", "sitkBSpline"), SLOW),
        "scipy": (scipy_cubic("float32"), SLOW),
    },
    "scores": {
        "scikit-image": (skimage_scores, SLOW),
        "torch arg-max": (torch_scores(by_arg_max), SLOW),
        "torch comparison": (torch_scores(by_comparison), FAST),
        "torch difference": (torch_scores(by_difference), FAST),
    },
    "dicom": {"SimpleITK": (sitk_dicom, FAST)},
    "components": {
        "cc3d": (cc3d_components(), FAST),
        "cc3d binary_image": (cc3d_components(binary_image=True), FAST),
        "cc3d u32": (cc3d_components(out_dtype="uint32"), FAST),
        "scipy": (scipy_components, SLOW),
        "SimpleITK": (sitk_components, SLOW),
    },
}


def default_operations(options):
    return [operation for operation in OPERATIONS if operation != "dicom" or options.series]


def megabytes(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 / 1e6 for line in status if line.startswith(name))


def measure(work, options):
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak begins anew
    before = megabytes("VmRSS:")
    result = work.run()
    peak = megabytes("VmHWM:")
    output = work.bytes_of(result) / 1e6
    answer = {"output_mb": output, "beyond_mb": peak - before - output, "times": []}
    while len(answer["times"]) < options.rounds and sum(answer["times"]) < 1e3 * ENOUGH_SECONDS:
        result = None  # giving memory back is nobody's time
        start = time.perf_counter()
        result = work.run()
        answer["times"].append((time.perf_counter() - start) * 1e3)
    if work.array is None:
        answer["file_mb"] = os.path.getsize(result) / 1e6
        os.remove(result)
    elif options.out:
        import nibabel
        import numpy

        nibabel.save(nibabel.Nifti1Image(numpy.asarray(work.array(result)), numpy.eye(4)), options.out)
    return answer


def in_child(operation, variant, options):
    command = [sys.executable, __file__, "--json", "--scan", options.scan, "--operation", operation]
    command += ["--variant", variant, "--rounds", str(options.rounds), "--threads", str(options.threads)]
    command += ["--series", options.series] if options.series else []
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(out.stdout)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scan", required=True)
    parser.add_argument("--series", help="a folder with one DICOM series, for dicom")
    parser.add_argument("--operation", action="append", choices=list(OPERATIONS), default=[])
    parser.add_argument("--variant", help="one of an operation's packages or settings; all if not given")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", help="write the result of one operation's one variant here, as .nii or .nii.gz")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    results = []
    for operation in options.operation or default_operations(options):
        if options.variant and len(options.operation) == 1:
            prepare, _ = OPERATIONS[operation][options.variant]
            answer = measure(prepare(options), options)
            results.append({"operation": operation, "variant": options.variant, "threads": options.threads, **answer})
        else:
            results += [in_child(operation, variant, options) for variant in OPERATIONS[operation]]
    if options.json:
        print(json.dumps(results))
        return
    for line in results:
        time_ms, beyond = statistics.median(line["times"]), line["beyond_mb"]
        print(f"{line['operation']:<12} {line['variant']:<20} {time_ms:9.1f} ms  and {beyond:.1f} MB besides")


if __name__ == "__main__":
    main()
