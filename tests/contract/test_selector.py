"""The selector contract on every bundled selector, with defaults and at the edges of its parameters."""

from functools import partial

import pytest

from discovery.selection import make_selector, selector_names
from discovery.testing.selector import SelectorContract

CASES = [
    ("best-of-n", {}),
    ("balance", {}),
    ("balance", {"exploitation": 1, "elite": 0, "exploration": 0}),
    ("balance", {"exploitation": 0, "elite": 0, "exploration": 1}),
    ("balance", {"exploitation": 0, "elite": 1, "exploration": 0, "elites": 2}),
    ("rpucg", {}),
    ("rpucg", {"c": 0, "restart": 0}),
    ("rpucg", {"c": 100.0, "gamma": 0.99, "restart": 3, "pool": 5}),
    ("rpucg", {"gamma": 0, "pool": 1}),
]


@pytest.fixture(params=CASES, ids=str)
def selector_factory(request):
    name, params = request.param
    return partial(make_selector, name, params=params)


class TestBundledSelectors(SelectorContract):
    pass


def test_no_bundled_selector_is_left_out():
    assert {name for name, _ in CASES} == set(selector_names())
