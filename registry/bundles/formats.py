"""Which model files are stored, and how a file proves that it is what it says.

A bundle (zip) can be served; single ONNX, HDF5, protobuf and safetensors files are kept
and versioned. Formats that are pickles run code when they are opened and are refused.
Only structure is read here: nothing that was uploaded is ever executed or imported.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from registry.errors import InvalidBundle, UnsupportedFormat

BUNDLE = "bundle"
# Format → name of the stored file.
STORED = {
    "onnx": "model.onnx",
    "safetensors": "model.safetensors",
    "h5": "model.h5",
    "pb": "model.pb",
}
_PICKLES = ("pickle", "joblib", "pt")
_WHY = (
    "is a pickle, which runs code of its author when it is opened; export the model to ONNX "
    "(skl2onnx for scikit-learn, `sentigraph export` for PyTorch) or to safetensors"
)
_HDF5 = b"\x89HDF\r\n\x1a\n"
_MAX_HEADER_BYTES = 100 << 20
_MAX_FIELDS = 100_000
# Top-level fields of onnx.ModelProto; 7 is the graph.
_ONNX_FIELDS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})
# tensorflow.SavedModel: 1 version, 2 graphs. tensorflow.GraphDef: 1 nodes, 2, 3, 4, 5.
_TENSORFLOW_FIELDS = frozenset({1, 2, 3, 4, 5})


def check_format(name: str) -> None:
    """Checks a format's name.

    Raises:
        UnsupportedFormat: It is a pickle, or not known; the message says what to use.
    """
    if name in _PICKLES:
        raise UnsupportedFormat(f"format {name!r} {_WHY}")
    if name != BUNDLE and name not in STORED:
        known = ", ".join((BUNDLE, *STORED))
        raise UnsupportedFormat(f"format {name[:50]!r} is not stored here; use one of {known}")


def check_content(name: str, file: Path) -> None:
    """Checks that a file's bytes are of the format.

    Raises:
        UnsupportedFormat: It is a pickle under another name.
        InvalidBundle: It is something else, or cut off.
    """
    with file.open("rb") as stream:
        head = stream.read(16)
        if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
            raise UnsupportedFormat(f"the file {_WHY}")
        stream.seek(0)
        if not _CHECKS[name](stream, file.stat().st_size):
            raise InvalidBundle(f"the file's content is not {name}: was it cut off or renamed?")


def _is_zip(stream: BinaryIO, _: int) -> bool:
    return stream.read(4) == b"PK\x03\x04"


def _is_hdf5(stream: BinaryIO, _: int) -> bool:
    return stream.read(len(_HDF5)) == _HDF5


def _is_safetensors(stream: BinaryIO, size: int) -> bool:
    head = stream.read(9)
    if len(head) < 9:
        return False
    (length,) = struct.unpack("<Q", head[:8])
    return 2 <= length <= min(size - 8, _MAX_HEADER_BYTES) and head[8:] == b"{"


def _is_onnx(stream: BinaryIO, size: int) -> bool:
    fields = _fields(stream, size)
    return fields is not None and fields <= _ONNX_FIELDS and {1, 7} <= fields


def _is_tensorflow(stream: BinaryIO, size: int) -> bool:
    fields = _fields(stream, size)
    return bool(fields) and fields is not None and fields <= _TENSORFLOW_FIELDS


_CHECKS = {
    BUNDLE: _is_zip,
    "onnx": _is_onnx,
    "safetensors": _is_safetensors,
    "h5": _is_hdf5,
    "pb": _is_tensorflow,
}


def _fields(stream: BinaryIO, size: int) -> set[int] | None:
    """Numbers of a protobuf message's top-level fields; None when it is not one.

    Only tags and lengths are read; contents are skipped.
    """
    found: set[int] = set()
    try:
        for count, number in enumerate(_walk(stream, size)):
            if number == 0 or count > _MAX_FIELDS:
                return None
            found.add(number)
    except (EOFError, ValueError):
        return None
    return found


def _walk(stream: BinaryIO, size: int) -> Iterator[int]:
    while stream.tell() < size:
        tag = _varint(stream)
        kind = tag & 7
        if kind == 0:
            _varint(stream)
        elif kind in (1, 5):
            stream.seek(8 if kind == 1 else 4, 1)
        elif kind == 2:
            length = _varint(stream)  # Before tell(): the length's own bytes count.
            stream.seek(length, 1)
        else:
            raise ValueError("no such wire type")
        if stream.tell() > size:
            raise EOFError
        yield tag >> 3


def _varint(stream: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = stream.read(1)
        if not byte:
            raise EOFError
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("a varint of more than ten bytes")
