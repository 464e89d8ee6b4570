"""Arrays: ``numpy.ndarray`` where numpy is installed, ``Array`` elsewhere; and their bytes on the wire."""

import math
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, Final

from mesh.errors import ValueFault
from mesh.limits import MAX_ARRAY_DIMS, MAX_VALUE_BYTES
from mesh.values.places import fault

DTYPES: Final = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
_FORMATS: Final = "?bhiqBHIQfd"  # of the buffer protocol, in the order of DTYPES
_NO_DTYPE: Final = f"arrays of {{}} cannot be carried; the dtypes are {', '.join(DTYPES)}"

type Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Array:
    """An array for where numpy is not installed: C order, little-endian; the buffer protocol gives its items."""

    dtype: str
    shape: tuple[int, ...]
    data: bytearray

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueFault(_NO_DTYPE.format(self.dtype))
        _check_shape(DTYPES.index(self.dtype), self.shape, len(self.data))

    def __buffer__(self, flags: int, /) -> memoryview:
        form: Any = _FORMATS[DTYPES.index(self.dtype)]
        # memoryview knows no shape with a zero in it
        return memoryview(self.data).cast(form, self.shape) if self.data else memoryview(self.data).cast(form)


def array_parts(value: Any, place: str) -> tuple[int, tuple[int, ...], Buffer] | None:
    """The dtype's code, the shape and the data of an array; None if ``value`` is none."""
    if isinstance(value, Array):
        return DTYPES.index(value.dtype), value.shape, value.data
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, numpy.ndarray):
        return None
    if value.dtype.name not in DTYPES:
        fault(place, _NO_DTYPE.format(value.dtype))
    if value.ndim > MAX_ARRAY_DIMS:
        fault(place, f"an array has at most {MAX_ARRAY_DIMS} dimensions")
    flat = numpy.ascontiguousarray(value, value.dtype.newbyteorder("<")).reshape(-1)
    return DTYPES.index(value.dtype.name), value.shape, flat.view(numpy.uint8).data


def read_array_header(body: Buffer) -> tuple[int, tuple[int, ...], memoryview]:
    """The dtype's code, the shape and the data of an array's extension body."""
    view = memoryview(body)
    if len(view) < 4:
        fault("", "the array is cut short")
    dtype, dims, padding, zero = view[:4]
    start = 4 + 4 * dims + padding
    if dtype >= len(DTYPES) or dims > MAX_ARRAY_DIMS or padding > 7 or zero or len(view) < start:
        fault("", "the array's header is wrong")
    shape = struct.unpack_from(f"<{dims}I", view, 4)
    _check_shape(dtype, shape, len(view) - start)
    if DTYPES[dtype] == "bool" and bytes(view[start:]).strip(b"\0\1"):
        fault("", "the items of a bool array are 0 and 1")
    return dtype, shape, view[start:]


def _check_shape(dtype: int, shape: Sequence[int], size: int) -> None:
    if len(shape) > MAX_ARRAY_DIMS:
        fault("", f"an array has at most {MAX_ARRAY_DIMS} dimensions")
    item = struct.calcsize(_FORMATS[dtype])
    # zeros must not hide dimensions whose product overflows elsewhere
    if math.prod(n or 1 for n in shape) * item > MAX_VALUE_BYTES or math.prod(shape) * item != size:
        fault("", f"{size} bytes are not the data of a {DTYPES[dtype]} array of shape {list(shape)}")


def read_array(body: Buffer) -> Any:
    dtype, shape, data = read_array_header(body)
    numpy = _numpy()
    if numpy is None:
        return Array(DTYPES[dtype], shape, bytearray(data))
    return numpy.frombuffer(data, DTYPES[dtype]).reshape(shape).copy()


@cache
def _numpy() -> ModuleType | None:
    try:
        import numpy
    except ImportError:
        return None
    return numpy
