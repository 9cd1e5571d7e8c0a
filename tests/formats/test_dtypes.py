"""TensorFlow's dtype names and numpy's dtypes, one to one."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from workbench.formats.dtypes import dtype_name, integer_limits, number_kind, numpy_dtype

PAIRS = {
    "float": np.float32,
    "double": np.float64,
    "half": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float8_e5m2": ml_dtypes.float8_e5m2,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "float8_e4m3b11fnuz": ml_dtypes.float8_e4m3b11fnuz,
    "float8_e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "int4": ml_dtypes.int4,
    "uint4": ml_dtypes.uint4,
    "int2": ml_dtypes.int2,
    "uint2": ml_dtypes.uint2,
    "int8": np.int8,
    "int16": np.int16,
    "int32": np.int32,
    "int64": np.int64,
    "uint8": np.uint8,
    "uint16": np.uint16,
    "uint32": np.uint32,
    "uint64": np.uint64,
    "bool": np.bool_,
    "complex64": np.complex64,
    "complex128": np.complex128,
    "string": np.object_,
}


@pytest.mark.parametrize(("name", "dtype"), PAIRS.items())
def test_there_and_back(name: str, dtype: type) -> None:
    assert numpy_dtype(name) == np.dtype(dtype)
    assert dtype_name(np.dtype(dtype)) == name


@pytest.mark.parametrize("dtype", ["S3", "U3", "O"])
def test_text_and_bytes_are_strings(dtype: str) -> None:
    assert dtype_name(np.dtype(dtype)) == "string"


def test_a_dtype_may_be_met_before_its_name() -> None:
    # In a fresh process nobody has asked for bfloat16 by name yet.
    import subprocess
    import sys

    code = (
        "import ml_dtypes, numpy; from workbench.formats.dtypes import dtype_name; "
        "print(dtype_name(numpy.dtype(ml_dtypes.bfloat16)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert out.stdout == "bfloat16\n", out.stderr


@pytest.mark.parametrize(("name", "dtype"), PAIRS.items())
def test_what_kind_of_numbers_it_holds(name: str, dtype: type) -> None:
    kinds = {"float": "f", "double": "f", "half": "f", "bfloat": "f", "int": "i", "uint": "u",
             "bool": "b", "complex": "c", "string": "O"}  # fmt: skip
    stem = name.partition("_")[0].rstrip("0123456789")
    assert number_kind(np.dtype(dtype)) == kinds[stem]


def test_the_limits_of_integers() -> None:
    assert integer_limits(np.dtype(ml_dtypes.int4)) == (-8, 7)
    assert integer_limits(np.dtype(ml_dtypes.uint4)) == (0, 15)
    assert integer_limits(np.dtype(np.uint64)) == (0, 2**64 - 1)


def test_what_has_no_counterpart_is_refused() -> None:
    with pytest.raises(KeyError):
        numpy_dtype("resource")
    with pytest.raises(KeyError):
        dtype_name(np.dtype("datetime64[s]"))


def test_the_table_is_tensorflows() -> None:
    # TensorFlow stays out of this process.
    import subprocess
    import sys

    code = (
        "from tensorflow.core.framework import tensor_pb2, types_pb2\n"
        "from workbench.formats.dtypes import DTYPES\n"
        "fields = {f.number: f.name for f in tensor_pb2.TensorProto.DESCRIPTOR.fields}\n"
        "for dtype in DTYPES:\n"
        "    number = getattr(types_pb2, f'DT_{dtype.name.upper()}', None)\n"
        "    assert number in (None, dtype.number), dtype\n"
        "    assert fields[dtype.field].endswith('_val'), dtype\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
