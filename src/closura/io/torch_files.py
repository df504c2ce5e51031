"""Reading arrays from PyTorch's files without PyTorch and without executing anything.

A ``.pt`` file is a zip archive with a pickle that describes tensors and one member per storage. The pickle is
read by an unpickler that knows four harmless names and refuses every other: a file cannot run code here.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class TorchFileError(ValueError):
    """A file that is not a plain dictionary of tensors."""


class _Storage(NamedTuple):
    name: str
    dtype: np.dtype
    size: int


_DTYPES: dict[str, np.dtype] = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def _rebuild(storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(stride))


class _Kind(NamedTuple):
    """Stands for a class of storages: immutable, unlike a dtype, which a hostile pickle could alter."""

    name: str


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *arguments: _rebuild(*arguments)  # a new object for each file, for the same reason
        if module in ("torch", "torch.storage") and name in _DTYPES:
            return _Kind(name)
        raise TorchFileError(f"the file wants to use {module}.{name}, which a dictionary of tensors does not need")

    def persistent_load(self, identity: Any) -> _Storage:
        word, kind, name, _place, size = identity
        if word != "storage" or not isinstance(kind, _Kind):
            raise TorchFileError(f"unknown kind of reference in the file: {identity!r}")
        return _Storage(str(name), _DTYPES[kind.name], int(size))


def read_torch_file(path: str | Path) -> dict[str, np.ndarray]:
    """All tensors of a state dictionary by name."""
    content = Path(path).read_bytes()
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise TorchFileError(f"{path} is not in PyTorch's zip format (1.6 and later): save it again with torch.save")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name.split("/", 1)[-1]: name for name in archive.namelist()}
            if "byteorder" in members and archive.read(members["byteorder"]).strip() != b"little":
                raise TorchFileError("it was written on a big-endian machine; save it again on another")
            found = _Reader(io.BytesIO(archive.read(members["data.pkl"]))).load()
            if not isinstance(found, dict) or not all(isinstance(value, _Tensor) for value in found.values()):
                raise TorchFileError(f"{path} does not hold a dictionary of tensors")
            return {str(name): _array(archive, members, tensor) for name, tensor in found.items()}
    except TorchFileError as error:
        raise TorchFileError(f"{path}: {error}") from error
    except Exception as error:  # a damaged pickle can raise anything
        raise TorchFileError(f"{path} is damaged: {error}") from error


def _array(archive: zipfile.ZipFile, members: dict[str, str], tensor: _Tensor) -> np.ndarray:
    storage = tensor.storage
    flat = np.frombuffer(archive.read(members[f"data/{storage.name}"]), storage.dtype)
    last = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride, strict=True))
    if 0 not in tensor.shape and (tensor.offset < 0 or min(tensor.stride, default=0) < 0 or last >= flat.size):
        raise TorchFileError("a tensor reaches beyond its storage")
    strides = tuple(s * storage.dtype.itemsize for s in tensor.stride)
    return np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides).copy()
