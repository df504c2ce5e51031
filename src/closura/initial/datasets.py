"""The image sets of the published advection experiments: where they come from, and how they are split.

Nothing is shipped: ``fetch`` downloads on request, and a local folder is taken instead where one is given.
The splits are fixed by index, so that held-out images stay held out; every set says which images it holds,
and that sentence belongs beside every figure made from them.

Sources: Y. LeCun et al., MNIST (CC BY-SA 3.0); H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST", arXiv
1708.07747 (MIT). Used as initial conditions by Closure-RL (arXiv 2402.00972), whose split of the 60,000
training images into 90 % and 10 % is random where ours is by index.
"""

import gzip
import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from closura.initial.images import grey_values
from closura.io.download import cache_folder, download_file

_GZIP_MAGIC = b"\x1f\x8b"
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_HINT = (
    "get a whole copy: delete the file, then `closura data fetch mnist` (or fashion-mnist), "
    "or copy it again from where it came"
)


def _content(path: Path, size: int = -1) -> bytes:
    """The first ``size`` bytes of a file (default: all), decompressed if it starts as gzip files do."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; get it with `closura data fetch mnist` (or fashion-mnist)")
    with path.open("rb") as file:
        compressed = file.read(2) == _GZIP_MAGIC
        file.seek(0)
        if not compressed:
            return file.read(size)
        try:
            with gzip.open(file) as stream:
                return stream.read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path}: truncated or damaged gzip file ({error}); {_HINT}") from error


def _header(path: Path, head: bytes) -> tuple[str, tuple[int, ...], int]:
    """Type, shape and length in bytes of the header."""
    if len(head) < 4:
        raise ValueError(f"{path}: truncated: expected an IDX header, got {len(head)} bytes; {_HINT}")
    if head[:2] != b"\0\0" or head[2] not in _TYPES or head[3] == 0:
        types = ", ".join(f"{code:02x}" for code in _TYPES)
        raise ValueError(
            f"{path}: no IDX file: expected it to start with 00 00, a type ({types}) "
            f"and a number of axes, got {head[:4].hex(' ')}; {_HINT}"
        )
    length = 4 + 4 * head[3]
    if len(head) < length:
        raise ValueError(f"{path}: truncated: expected a header of {length} bytes, got {len(head)}; {_HINT}")
    shape = tuple(int(size) for size in np.frombuffer(head, ">u4", count=head[3], offset=4))
    return _TYPES[head[2]], shape, length


def idx_shape(path: str | Path) -> tuple[int, ...]:
    """Shape of the array in an IDX file, from its header alone.

    Parameters
    ----------
    path
        The file, plain or compressed with gzip (told apart by content, not by name).
    """
    path = Path(path)
    return _header(path, _content(path, 4 + 4 * 255))[1]


def read_idx(path: str | Path) -> np.ndarray:
    """Read an IDX file, plain or compressed with gzip: ``(n, rows, columns)`` for images, ``(n,)`` for labels.

    A file is: two zero bytes, one byte for the type of the numbers, one byte for the number of axes, one big-endian
    32-bit size per axis, then the numbers in row-major order (LeCun, Cortes, Burges, "The MNIST database of handwritten
    digits").
    """
    path = Path(path)
    content = _content(path)
    dtype, shape, start = _header(path, content)
    expected = math.prod(shape) * np.dtype(dtype).itemsize
    found = len(content) - start
    if found != expected:
        what = "truncated" if found < expected else "too long"
        raise ValueError(f"{path}: {what}: expected {expected} bytes for shape {shape}, got {found}; {_HINT}")
    array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return array.astype(array.dtype.newbyteorder("="))


Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

# With a single file: at least this many images to split it, and the sizes of the held-out ends.
_SMALLEST_TO_SPLIT = 5_000
_TEST_IMAGES = 1_000
_VALIDATION_IMAGES = 500


@dataclass(frozen=True)
class Dataset:
    """A published set of images.

    ``checksums`` are the md5 of the published (compressed) files by name, ``mirrors`` addresses of folders that hold
    these files, tried in order; ``folders`` are where they may lie below a data folder: ours, then those that
    torchvision makes. ``rotate``: the published advection experiments rotate its images (training and test alike).
    """

    name: str
    title: str
    checksums: dict[str, str]
    mirrors: tuple[str, ...]
    licence: str
    rotate: bool
    folders: tuple[str, ...]


DATASETS: dict[str, Dataset] = {
    "mnist": Dataset(
        name="mnist",
        title="MNIST",
        checksums={
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        },
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        licence="CC BY-SA 3.0",
        rotate=True,
        folders=("mnist", "MNIST/raw"),
    ),
    "fashion-mnist": Dataset(
        name="fashion-mnist",
        title="Fashion-MNIST",
        checksums={
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        },
        mirrors=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        licence="MIT",
        rotate=False,
        folders=("fashion-mnist", "FashionMNIST/raw"),
    ),
}


@dataclass(frozen=True)
class ImageSet:
    """Images ``(n, rows, columns)``, row 0 at the top, uint8 with 255 for white, or fractions in [0, 1].

    ``description`` says which file, which indices, of how many: to be printed beside every figure.
    """

    images: np.ndarray
    description: str


def find_dataset(name: str) -> Dataset:
    """The registered set of that name."""
    if name not in DATASETS:
        raise ValueError(f"unknown image set {name!r}; valid: {', '.join(DATASETS)}")
    return DATASETS[name]


def fetch(name: str, *, cache: str | Path | None = None) -> Path:
    """Download the image files of a set, unless whole copies are there already, and give their folder.

    It has the set's name and lies in ``cache`` (default: ``CLOSURA_CACHE``, else the user's cache folder). Files whose
    checksum is wrong are replaced.
    """
    dataset = find_dataset(name)
    folder = (Path(cache) if cache is not None else cache_folder()) / name
    otherwise = (
        f"put it into {folder}, or into a folder {name}/ anywhere and name the folder above it with --data-dir or the "
        "environment variable CLOSURA_DATA"
    )
    for file, md5 in dataset.checksums.items():
        download_file(file, f"md5:{md5}", mirrors=dataset.mirrors, folder=folder, otherwise=otherwise)
    return folder


def load_images(name: str, split: Split, *, data_dir: str | Path | None = None) -> ImageSet:
    """Images of one split of a set, "mnist" or "fashion-mnist".

    They are looked for in ``data_dir`` if given; else in the folder that the environment variable
    ``CLOSURA_DATA`` names, then in the cache of ``fetch``. A data folder holds a folder ``mnist`` or
    ``fashion-mnist`` (or torchvision's ``MNIST/raw``, ``FashionMNIST/raw``) with IDX files of any name,
    compressed or not; files that are no IDX images (labels, notes) are passed over.

    A folder with a training file ("train" in its name) and a test file ("t10k" or "test"): the test file is
    the test split, the last tenth of the training file the validation split, the rest the training split. A
    folder with one image file of at least 5,000 images: the last 1,000 are the test split, the 500 before
    them the validation split. A single smaller file is a test split only.
    """
    dataset = find_dataset(name)
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; valid: {', '.join(SPLITS)}")
    files, looked = _find_files(dataset, data_dir)
    if not files:
        raise FileNotFoundError(
            f"{dataset.title} not found. Looked in: {'; '.join(looked)}. Download it with "
            f"`closura data fetch {name}`, or put IDX image files into a folder {name}/ and name the folder "
            f"above it with --data-dir (data_dir=) or the environment variable CLOSURA_DATA"
        )
    file, first, stop, total = _choose(dataset, files, split)
    # The whole file together: one scale of grey holds for all of its images.
    images = grey_values(read_idx(file), str(file))[first:stop]
    which = f"images {first:,} to {stop - 1:,} ({stop - first:,} of {total:,}) of {file.name}"
    return ImageSet(images, f"{dataset.title} {split}: {which}")


def _find_files(dataset: Dataset, data_dir: str | Path | None) -> tuple[list[Path], list[str]]:
    """The image files of the first place that has any, and the places looked in."""
    looked: list[str] = []
    root = data_dir if data_dir is not None else os.environ.get("CLOSURA_DATA")
    if root:
        folders = [Path(root) / folder for folder in dataset.folders]
        # A folder of this very name may be given itself; any other could hold another set's images.
        if Path(root).name == dataset.name:
            folders.append(Path(root))
        for folder in folders:
            if files := _image_files(folder):
                return files, looked
            looked.append(f"{folder} (no IDX image files)" if folder.is_dir() else f"{folder} (no such folder)")
    if data_dir is None:
        if not root:
            looked.append("CLOSURA_DATA (not set)")
        folder = cache_folder() / dataset.name
        files = [folder / file for file in dataset.checksums]
        missing = [file.name for file in files if not file.is_file()]
        if not missing:
            return files, looked
        looked.append(f"{folder} ({', '.join(missing)} missing)")
    return [], looked


def _image_files(folder: Path) -> list[Path]:
    """IDX files of three axes in a folder; of a plain and a compressed copy the plain one."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not path.is_file() or path.name.startswith("."):
            continue
        try:
            is_image = len(idx_shape(path)) == 3
        except ValueError:
            # A damaged file must not silently change the split; a README may lie beside the images.
            if "idx" in path.name or "ubyte" in path.name:
                raise
            is_image = False
        if is_image:
            found.setdefault(path.name.removesuffix(".gz"), path)
    return list(found.values())


def _choose(dataset: Dataset, files: list[Path], split: Split) -> tuple[Path, int, int, int]:
    """File, first index, index after the last, and number of images in the file."""
    train = [file for file in files if "train" in file.name]
    test = [file for file in files if file not in train and ("t10k" in file.name or "test" in file.name)]
    if len(train) == 1 and len(test) == 1:
        file = test[0] if split == "test" else train[0]
        total = idx_shape(file)[0]
        held_out = total // 10
        ranges = {"train": (0, total - held_out), "validation": (total - held_out, total), "test": (0, total)}
    elif len(files) == 1:
        file = files[0]
        total = idx_shape(file)[0]
        first_test = total - _TEST_IMAGES
        first_validation = first_test - _VALIDATION_IMAGES
        ranges = {"train": (0, first_validation), "validation": (first_validation, first_test)}
        ranges["test"] = (first_test, total)
        if total < _SMALLEST_TO_SPLIT:
            ranges = {"test": (0, total)}
    else:
        raise ValueError(
            f"{files[0].parent}: expected one file of images, or one with 'train' and one with 't10k' "
            f"or 'test' in its name; got {', '.join(file.name for file in files)}; move the others away"
        )
    if split not in ranges:
        raise ValueError(
            f"{file} has {total:,} images, fewer than {_SMALLEST_TO_SPLIT:,}: it serves as the test split "
            f"only, and there is no {split} split; give more, or fetch the whole set with "
            f"`closura data fetch {dataset.name}`"
        )
    first, stop = ranges[split]
    if stop <= first:
        raise ValueError(
            f"{file} has {total:,} images: too few for a {split} split; give more, or fetch the whole set with "
            f"`closura data fetch {dataset.name}`"
        )
    return file, first, stop, total
