import ast
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.declared import Limits
from discovery.problem import Problem, ProblemSettings
from discovery.records import Direction
from discovery.sandbox.spec import preloaded, spec_of, widest
from discovery.toolchain import Toolchain


def problem_of(tmp_path, initial, **settings):
    return Problem(
        name="toy",
        statement="Return a number.",
        initial=initial,
        scorer=lambda program: 0.0,
        direction=Direction.MAXIMIZE,
        settings=ProblemSettings(**settings),
        path=tmp_path / "toy.py",
        version="0",
    )


@pytest.mark.parametrize(
    ("source", "packages", "found"),
    [
        ("", (), ()),
        ("import math\nimport os.path, json as j\n", (), ("math", "os.path", "json")),
        ("import numpy as np\n", ("numpy",), ("numpy",)),
        ("import numpy as np\n", (), ()),
        ("import torch, discovery, numpy.linalg\n", ("numpy",), ("numpy", "numpy.linalg")),
        ("from scipy import optimize, nothing\n", ("scipy",), ("scipy", "scipy.optimize")),
        ("from scipy.optimize import minimize\n", ("scipy",), ("scipy", "scipy.optimize")),
        ("from concurrent import futures\n", (), ("concurrent", "concurrent.futures")),
        ("from os import getcwd, path\n", (), ("os",)),
        ("from . import math\nfrom .json import loads\nfrom .. import os\n", (), ()),
        ("from __future__ import annotations\nfrom math import *\n", (), ("math",)),
        ("def solve():\n    import heapq\n    return heapq\n", (), ("heapq",)),
        ("try:\n    import bisect\nexcept ImportError:\n    import math\n", (), ("bisect", "math")),
        ("import math\nimport math\nfrom math import pi\n", ("scipy.spatial",), ("scipy.spatial", "math")),
        ("this is no Python", ("numpy",), ("numpy",)),
        ("\x00", (), ()),
    ],
)
def test_what_is_preloaded(source, packages, found):
    assert preloaded(source, packages) == found


def test_finding_modules_imports_nothing():
    before = set(sys.modules)
    preloaded("from xml import sax\nfrom wsgiref import headers\nfrom scipy import cluster\n", ("scipy",))
    assert not {"xml.sax", "wsgiref", "scipy.cluster"} & (set(sys.modules) - before)


@given(st.lists(st.sampled_from(["math", "numpy", "os.path", "torch", "a.b", "scipy.optimize"])), st.data())
def test_only_what_candidates_may_import_is_preloaded_and_only_once(names, draw):
    packages = tuple(draw.draw(st.lists(st.sampled_from(["numpy", "scipy", "a"]), unique=True)))
    source = "\n".join(f"import {name}" for name in names)
    ast.parse(source)
    found = preloaded(source, packages)
    assert len(set(found)) == len(found)
    assert found[: len(packages)] == packages
    allowed = {*packages, "math", "os"}
    assert set(found) == {*packages, *(name for name in names if name.partition(".")[0] in allowed)}


def test_other_languages_preload_their_packages_only(tmp_path):
    problem = problem_of(tmp_path, "import math\n", language="cpp", packages=("numpy",))
    spec = spec_of(problem, Toolchain(), "run-1")
    assert (spec.packages, spec.preload, spec.label) == (("numpy",), ("numpy",), "run-1")


def test_a_sandbox_is_bounded_by_the_widest_limits_and_has_the_problems_image(tmp_path):
    limits = Limits(wall_s=2.0, memory_bytes=1 << 20, processes=3)
    builds = Limits(wall_s=30.0, cpu_s=1.5, memory_bytes=1 << 30, processes=2)
    problem = problem_of(tmp_path, "", limits=limits)
    assert spec_of(problem, Toolchain(build_limits=builds), "run-1").limits == limits, "nothing is built"
    spec = spec_of(problem, Toolchain(image="cpp", build=("cc",), build_limits=builds), "run-1")
    assert spec.image == "cpp"
    assert spec.limits == Limits(wall_s=30.0, cpu_s=2.0, memory_bytes=1 << 30, processes=3)


@given(*[st.builds(Limits, wall_s=st.floats(0.1, 99), cpu_s=st.none() | st.floats(0.1, 99))] * 2)
def test_the_widest_limits_hold_both(first, second):
    both = widest(first, second)
    for name in ("wall_s", "cpu_limit_s", "memory_bytes", "processes", "file_bytes", "result_bytes"):
        assert getattr(both, name) == max(getattr(first, name), getattr(second, name))
    assert widest(first, None) is first
