"""The encoding that crosses the sandbox's boundary: what goes in comes out, and nothing else ever does."""

import enum
import json
import math
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from discovery import data
from discovery.errors import DataError

DTYPES = sorted(data.ARRAY_DTYPES)

# A high surrogate right before a low one is one character to JSON, so lone ones are tried in their own test.
texts = st.text(st.characters(exclude_categories=["Cs"]))
finite = st.floats(allow_nan=False, allow_infinity=False)
leaves = st.none() | st.booleans() | st.integers() | finite | texts
shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)


@st.composite
def arrays(draw):
    dtype = draw(st.sampled_from(DTYPES))
    elements = {"allow_nan": False, "allow_infinity": False} if "f" in dtype else None
    array = draw(hnp.arrays(dtype, draw(shapes), elements=elements))
    form = draw(st.sampled_from(["plain", "fortran", "strided", "swapped"]))
    if form == "fortran":
        return np.asfortranarray(array)
    if form == "strided" and array.ndim:
        return array[::-1]
    return array.astype(array.dtype.newbyteorder(">")) if form == "swapped" else array


def nested(of):
    keys = texts.filter(lambda key: key != data.ARRAY_KEY)
    return st.recursive(
        of, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4)
    )


def same(a, b):
    """Equal in value and in kind, all the way down."""
    if isinstance(a, np.ndarray):
        little = a.dtype.newbyteorder("<")
        return isinstance(b, np.ndarray) and (b.dtype, b.shape) == (little, a.shape) and bool((a == b).all())
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    return a == b


def frame(header, tail=b""):
    """A blob with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return f"{len(text):08x}".encode() + text + tail


def leaves_of(value):
    if isinstance(value, list):
        return [leaf for part in value for leaf in leaves_of(part)]
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in leaves_of(part)]
    return [value]


def plain_and_finite(value):
    """Whether a decoded value is what the module promises: it encodes again, and every number is finite."""
    for leaf in leaves_of(value):
        if isinstance(leaf, np.ndarray):
            assert leaf.dtype.str in data.ARRAY_DTYPES
            assert np.isfinite(leaf).all()
        else:
            assert leaf is None or type(leaf) in (bool, int, float, str)
            assert not isinstance(leaf, float) or math.isfinite(leaf)
    return same(data.decode(data.encode(value)), value)


@given(nested(leaves | arrays()))
def test_what_goes_in_comes_out(value):
    assert same(value, data.decode(data.encode(value)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3)])
def test_arrays_of_every_dtype_and_shape(dtype, shape):
    array = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    back = data.decode(data.encode({"a": [array, 1]}))
    assert same({"a": [array, 1]}, back)
    assert back["a"][0].flags.writeable
    assert back["a"][0].flags.c_contiguous


def test_arrays_do_not_share_memory():
    array = np.zeros(3)
    one, two = data.decode(data.encode([array, array]))
    one[0] = 5
    assert two[0] == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_widened_arrays_calculate_as_numbers_do(dtype):
    array = np.array([0, 1, 100]).astype(dtype)
    wide = data.decode(data.encode([array]), widen=True)[0]
    assert wide.dtype == {"b": "?", "f": "f8"}.get(array.dtype.kind, "i8")
    assert wide.tolist() == array.tolist()
    assert wide.flags.writeable
    if dtype != "|b1":
        assert (wide * 1000 - 7).tolist() == [-7, 993, 99_993]


def test_widened_unsigned_numbers_past_the_largest_signed_one():
    wide = data.decode(data.encode(np.array([2**63, 1], dtype="u8")), widen=True)
    assert wide.dtype == "f8"
    assert wide.tolist() == [2.0**63, 1.0]


def test_a_header_that_is_made_to_be_slow_is_not():
    """A string that is never closed, full of quotes, took hours."""
    header = b'{"value":["' + b'[\\"' * (data.MAX_CONTAINERS + 3)
    started = time.process_time()
    with pytest.raises(DataError):
        data.decode(b"%08x" % len(header) + header)
    assert time.process_time() - started < 5


def test_an_array_without_elements_cannot_claim_to_be_huge():
    """Its sum over the empty dimension would be gigabytes, in the scorer's process."""
    assert data.decode(data.encode(np.zeros((0, data.MAX_EMPTY)))).shape == (0, data.MAX_EMPTY)
    for shape in ((0, 1 << 30), (data.MAX_EMPTY, 0, 2)):
        with pytest.raises(DataError, match="without elements"):
            data.encode(np.zeros(shape))


@pytest.mark.parametrize("number", [10**4000, -(10**4000), 2**63, 2**64, 0, -1], ids=hash)
def test_integers_have_no_size(number):
    assert same(number, data.decode(data.encode(number)))


def test_booleans_stay_apart_from_integers():
    assert same([True, 1, False, 0, 1.0], data.decode(data.encode([True, 1, False, 0, 1.0])))


class Level(enum.IntEnum):
    HIGH = 3


class Name(enum.StrEnum):
    ONE = "one"


class Shape:
    pass


class Odd(int):
    def __int__(self):
        return 99

    def __repr__(self):
        return "nothing"


class Loud(str):
    __slots__ = ()

    def __str__(self):
        return self.upper()


class Mixed(float, Shape):
    pass


class Rows(list):
    pass


class Table(np.ndarray):
    pass


@pytest.mark.parametrize(
    ("given_value", "plain"),
    [
        (Level.HIGH, 3),
        (Name.ONE, "one"),
        (Odd(4), 4),
        (Loud("quiet"), "quiet"),
        (Mixed(2.5), 2.5),
        (Rows([1]), [1]),
        ((1, (2,)), [1, [2]]),
        (np.int8(-3), -3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.float64(0.1), 0.1),
        (np.bool_(True), True),
        (np.str_("text"), "text"),
        ("a \ud800 lone surrogate", "a \ud800 lone surrogate"),
    ],
)
def test_what_derives_from_plain_data_becomes_plain(given_value, plain):
    assert same(plain, data.decode(data.encode(given_value)))


def test_a_subclass_of_arrays_becomes_an_array():
    back = data.decode(data.encode(np.array([[1.0, 2.0]]).view(Table)))
    assert type(back) is np.ndarray
    assert back.tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (math.nan, "value is nan"),
        ([1, {"x": math.inf}], r"value\[1\]\['x'\] is inf"),
        (np.float64("nan"), "value is nan"),
        (Mixed("inf"), "value is inf"),
        (np.array([1, math.inf]), "not finite"),
        (np.array([math.nan], dtype="f2"), "not finite"),
        (np.array(["a"]), "array of <U1"),
        (np.array([None]), "array of object"),
        (np.array([1j]), "array of complex"),
        (np.zeros(1, dtype=np.longdouble), "array of"),
        (np.zeros((1,) * 33), "33 dimensions"),
        (np.array(["2020"], dtype="M8[s]"), "array of datetime"),
        (np.longdouble(1), "longdouble"),
        (np.datetime64(5, "ns"), "datetime64"),
        (np.datetime64("NaT"), "datetime64"),
        (np.bytes_(b"a"), "bytes"),
        (np.complex128(1j), "complex"),
        (b"bytes", "value is a builtins.bytes"),
        (1j, "complex"),
        ({1, 2}, "set"),
        (object(), "object"),
        (print, "builtin_function"),
        ({1: 2}, "a key of type int"),
        ({10**5000: 2}, "a key of type int"),
        ({np.str_("a"): 2}, "a key of type str_"),
        ({"x": {data.ARRAY_KEY: 0}}, "stands for arrays"),
        ([10**5000], "JSON"),
    ],
)
def test_what_is_not_plain_and_finite_is_refused_with_its_place(value, says):
    with pytest.raises(DataError, match=says):
        data.encode(value)


def deep(levels, leaf):
    for level in range(levels):
        leaf = [leaf] if level % 2 else {"k": leaf}
    return leaf


@pytest.mark.parametrize("leaf", [1, 1.5, np.float64(1.5), Level.HIGH, "x", np.arange(2.0)], ids=repr)
def test_the_deepest_level_holds_every_kind_of_leaf(leaf):
    blob = data.encode(deep(data.MAX_DEPTH, leaf))
    assert data.encode(data.decode(blob)) == blob


@pytest.mark.parametrize("leaf", [1, [], {}, np.arange(2.0)], ids=repr)
def test_deeper_is_refused_on_both_sides(leaf):
    levels = data.MAX_DEPTH + (not isinstance(leaf, (list, dict)))
    with pytest.raises(DataError, match="nested deeper"):
        data.encode(deep(levels, leaf))
    if not isinstance(leaf, np.ndarray):
        with pytest.raises(DataError, match="nested deeper"):
            data.decode(frame({"value": deep(levels, leaf), "arrays": []}))


def test_a_list_that_holds_itself_is_refused():
    endless = []
    endless.append(endless)
    with pytest.raises(DataError, match="nested deeper"):
        data.encode(endless)


def test_a_text_of_a_million_brackets_is_refused():
    with pytest.raises(DataError):
        data.decode(frame(b'{"value":' + b"[" * 1_000_000))


@given(st.binary(max_size=200) | st.binary(max_size=60).map(frame))
def test_any_bytes_decode_or_are_refused(blob):
    try:
        value = data.decode(blob)
    except DataError:
        return
    assert plain_and_finite(value)


@settings(max_examples=5 * settings.default.max_examples)
@given(nested(leaves | arrays()), st.data())
def test_mutated_bytes_decode_to_plain_data_or_are_refused(value, draws):
    blob = bytearray(data.encode(value))
    for _ in range(draws.draw(st.integers(1, 4))):
        at = draws.draw(st.integers(0, len(blob) - 1))
        how = draws.draw(st.sampled_from(["set", "drop", "insert", "cut"]))
        if how == "set":
            blob[at] = draws.draw(st.integers(0, 255))
        elif how == "insert":
            blob[at:at] = draws.draw(st.binary(min_size=1, max_size=3))
        else:
            del blob[at : at + 1 if how == "drop" else len(blob)]
        assume(blob)
    try:
        back = data.decode(bytes(blob))
    except DataError:
        return
    assert plain_and_finite(back)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**15) | texts | st.sampled_from(DTYPES),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["value", "arrays", "dtype", "shape", data.ARRAY_KEY]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=5 * settings.default.max_examples)
@given(json_values, json_values, st.binary(max_size=64))
def test_any_header_decodes_to_plain_data_or_is_refused(value, arrays, tail):
    try:
        back = data.decode(frame({"value": value, "arrays": arrays}, tail))
    except DataError:
        return
    assert plain_and_finite(back)


@pytest.mark.parametrize(
    ("header", "tail"),
    [
        ({"value": 1}, b""),
        ({"arrays": []}, b""),
        ([1], b""),
        (b"NaN", b""),
        (b'{"value":NaN,"arrays":[]}', b""),
        (b'{"value":-Infinity,"arrays":[]}', b""),
        (b'{"value":1e999,"arrays":[]}', b""),
        (b'{"value":' + b"9" * 5000 + b',"arrays":[]}', b""),
        ({"value": {data.ARRAY_KEY: 0}, "arrays": []}, b""),
        ({"value": {data.ARRAY_KEY: -1}, "arrays": [{"dtype": "|u1", "shape": [1]}]}, b"a"),
        ({"value": {data.ARRAY_KEY: True}, "arrays": [{"dtype": "|u1", "shape": [1]}] * 2}, b"ab"),
        ({"value": 0, "arrays": [{"dtype": "|O", "shape": [1]}]}, b"a" * 8),
        ({"value": 0, "arrays": [{"dtype": ["<f8"], "shape": [1]}]}, b"a" * 8),
        ({"value": 0, "arrays": [{"dtype": "<f8", "shape": [1]}]}, b"a" * 7),
        ({"value": 0, "arrays": [{"dtype": "<f8", "shape": [-1]}]}, b"a" * 8),
        ({"value": 0, "arrays": [{"dtype": "<f8", "shape": [True]}]}, b"\0" * 8),
        ({"value": 0, "arrays": [{"dtype": "<f8", "shape": [1.0]}]}, b"\0" * 8),
        ({"value": 0, "arrays": [{"dtype": "<f8", "shape": 1}]}, b"\0" * 8),
        ({"value": 0, "arrays": [{"dtype": "<f8", "shape": {}}]}, b"\0" * 8),
        ({"value": 0, "arrays": [{"dtype": "<f8", "shape": [1] * 33}]}, b"\0" * 8),
        ({"value": 0, "arrays": [{"dtype": "<f8", "shape": [0, 10**30]}]}, b""),
        ({"value": 0, "arrays": [{"dtype": "<f8", "shape": [0, data.MAX_EMPTY + 1]}]}, b""),
        ({"value": 0, "arrays": [{"dtype": "<f8", "shape": [0, 2**40, 2**40]}]}, b""),
        ({"value": 0, "arrays": [{"dtype": "<f8", "shape": [1]}]}, np.array([math.nan]).tobytes()),
        ({"value": 0, "arrays": [{"dtype": "|b1", "shape": [1]}]}, b"\x02"),
        ({"value": 0, "arrays": {"a": 1}}, b""),
        ({"value": 0, "arrays": 7}, b""),
    ],
)
def test_forged_headers_are_refused(header, tail):
    with pytest.raises(DataError):
        data.decode(frame(header, tail))


@pytest.mark.parametrize("blob", [b"", b"0000", b"zzzzzzzz{}", b"-0000001x", b"ffffffff{}", b"\xff" * 20])
def test_broken_lengths_are_refused(blob):
    with pytest.raises(DataError):
        data.decode(blob)


@pytest.mark.parametrize("shape", [[10**12], [10**6, 10**6], [10**4000] * 32, [2**62, 4, 0, 2]], ids=len)
def test_a_shape_that_claims_too_much_takes_no_memory(shape):
    blob = frame({"value": {data.ARRAY_KEY: 0}, "arrays": [{"dtype": "<f8", "shape": shape}]}, b"\0" * 64)
    tracemalloc.start()
    try:
        with pytest.raises(DataError) as caught:
            data.decode(blob)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "header",
    [
        {"value": 0, "arrays": [{"dtype": "x" * 100_000, "shape": []}]},
        {"value": 0, "arrays": [{"dtype": "<f8", "shape": [None] * 100_000}]},
        {"value": {data.ARRAY_KEY: "y" * 100_000}, "arrays": []},
        b'{"value":' + b"9" * 100_000 + b'.0,"arrays":[]}',
        b'{"value":' + b"9" * 100_000 + b',"arrays":[]}',
    ],
)
def test_a_refusal_does_not_repeat_all_that_an_adversary_wrote(header):
    with pytest.raises(DataError) as caught:
        data.decode(frame(header))
    assert len(str(caught.value)) < 300


@given(nested(leaves))
def test_loads_reads_what_strict_json_writes(value):
    assert same(value, data.loads(json.dumps(value)))


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}', "1e400", "{", "", "[1,]", "'a'"])
def test_loads_refuses_what_is_not_strict_json(text):
    with pytest.raises(DataError):
        data.loads(text)


LONE = """
import sys
sys.path.insert(0, sys.argv[1])
import data
assert "numpy" not in sys.modules
value = {"a": [1, 2.5, None, True, "x"], "b": {}}
assert data.decode(data.encode(value)) == value
for bad in (float("nan"), {1: 2}, b"x"):
    try:
        data.encode(bad)
    except data.DataError as error:
        assert isinstance(error, ValueError)
    else:
        raise SystemExit("accepted")
assert "numpy" not in sys.modules and "discovery" not in sys.modules
print(data.encode(value).decode())
"""


def test_the_file_runs_alone_without_the_package(tmp_path):
    with open(data.__file__, "rb") as source:  # noqa: PTH123
        (tmp_path / "data.py").write_bytes(source.read())
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LONE, str(tmp_path)], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().encode() == data.encode({"a": [1, 2.5, None, True, "x"], "b": {}})


def raw(header, tail=b""):
    return b"%08x" % len(header) + header + tail


def test_an_array_stands_in_one_place():
    header = b'{"value":[{"__array__":0},{"__array__":0}],"arrays":[{"dtype":"<f8","shape":[1]}]}'
    with pytest.raises(data.DataError, match="two places"):
        data.decode(raw(header, bytes(8)))


def test_more_lists_than_anyone_should_read_are_refused_both_ways(monkeypatch):
    assert data.MAX_CONTAINERS == 1 << 20
    monkeypatch.setattr(data, "MAX_CONTAINERS", count := 1 << 14)
    most = b'{"value":[' + b"[]," * (count - 2) + b'[]],"arrays":[]}'
    assert len(data.decode(raw(most))) == count - 1
    with pytest.raises(data.DataError, match="use numpy arrays"):
        data.decode(raw(most.replace(b"[[]", b"[[],{}", 1)))
    with pytest.raises(data.DataError, match="use numpy arrays"):
        data.encode([{}] * count)
    brackets = '[{\\"' * count
    assert data.decode(data.encode(brackets)) == brackets
