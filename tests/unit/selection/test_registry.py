"""Selectors by name, and users' own."""

from importlib.metadata import EntryPoint, EntryPoints

import numpy as np
import pytest

from discovery.declared import Feature, Objective
from discovery.errors import ConfigError
from discovery.records import INITIAL, Direction
from discovery.selection import Selection, described_selectors, make_selector, registry, selector_names
from discovery.testing.selector import committed_step


class First:
    """A user's selector."""

    name = "first"

    def __init__(self, direction, *, width=1):
        self.params = {"width": width}

    def observe(self, step):
        pass

    def choose(self, chain, count, rng):
        return Selection(parents=(INITIAL,))


class Broken:
    """A user's selector that cannot be made."""

    def __init__(self, direction):
        raise RuntimeError("no luck")


@pytest.fixture
def installed(monkeypatch):
    points = EntryPoints(
        EntryPoint(name, value, registry.ENTRY_POINTS)
        for name, value in {
            "first": f"{__name__}:First",
            "shaped": f"{__name__}:Shaped",
            "broken": f"{__name__}:Broken",
            "gone": "no_such_module:Thing",
        }.items()
    )
    monkeypatch.setattr(registry, "entry_points", lambda **wanted: points.select(**wanted))
    monkeypatch.setattr(EntryPoint, "load", _load)


def _load(point):
    found = {"First": First, "Broken": Broken, "Shaped": Shaped}.get(point.attr)
    if found is None:
        raise ModuleNotFoundError(f"No module named {point.module!r}")
    return found


@pytest.mark.parametrize("name", ["balance", "best-of-n", "greedy", "islands", "pareto", "puct", "rpucg"])
def test_bundled_selectors_by_name(name):
    selector = make_selector(name, Direction.MINIMIZE, objectives=[Objective("size")])
    assert selector.name == name
    assert name in selector_names()


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        ConfigError, match=r"no selector 'greed'; known: balance, best-of-n, greedy, .*, rpucg"
    ):
        make_selector("greed", Direction.MAXIMIZE)


def test_an_unknown_parameter_lists_the_known_ones():
    with pytest.raises(ConfigError, match="no parameter 'gama'; it has: c, gamma, pool, restart"):
        make_selector("rpucg", Direction.MAXIMIZE, {"gama": 0.5})
    with pytest.raises(ConfigError, match="no parameter 'c'; it has: none"):
        make_selector("best-of-n", Direction.MAXIMIZE, {"c": 1})


@pytest.mark.parametrize("params", [{"restart": 2.5}, {"c": "1"}, {"c": True}, {"gamma": None}], ids=str)
def test_a_parameter_of_the_wrong_type_is_refused(params):
    with pytest.raises(ConfigError, match=r"expected a (whole )?number"):
        make_selector("rpucg", Direction.MAXIMIZE, params)


def test_whole_numbers_do_for_real_parameters():
    assert make_selector("rpucg", Direction.MAXIMIZE, {"c": 2}).params["c"] == 2.0


class Shaped(First):
    """A user's selector that wants to know the problem.

    And says more about it.
    """

    def __init__(self, direction, *, mode="soft", strict=False, features=(), objectives=(), overlap=0):
        self.params = {"mode": mode, "strict": strict}
        self.given = (features, objectives, overlap)


@pytest.mark.usefixtures("installed")
def test_texts_and_switches_are_parameters_too():
    assert make_selector("shaped", Direction.MAXIMIZE, {"mode": "hard", "strict": "true"}).params == {
        "mode": "hard",
        "strict": True,
    }
    assert make_selector("shaped", Direction.MAXIMIZE, {"mode": 5}).params["mode"] == "5"
    with pytest.raises(ConfigError, match="shaped: strict is 1; expected true or false"):
        make_selector("shaped", Direction.MAXIMIZE, {"strict": 1})
    with pytest.raises(ConfigError, match=r"shaped: mode is \[1\]; expected text"):
        make_selector("shaped", Direction.MAXIMIZE, {"mode": [1]})


@pytest.mark.usefixtures("installed")
def test_what_the_problem_declares_goes_to_whoever_takes_it():
    declared = {
        "features": [Feature("size", 0, 1)],
        "objectives": [Objective("cost", "minimize")],
        "overlap": 2,
    }
    selector = make_selector("shaped", Direction.MAXIMIZE, **declared)
    assert selector.given == ((Feature("size", 0, 1),), (Objective("cost", "minimize"),), 2)
    assert make_selector("first", Direction.MAXIMIZE, **declared).params == {"width": 1}
    with pytest.raises(ConfigError, match="features is no parameter; the problem declares it: "):
        make_selector("shaped", Direction.MAXIMIZE, {"features": "size"})


@pytest.mark.usefixtures("installed")
def test_every_selector_is_described_in_one_line_and_a_broken_one_says_why():
    found = {each.name: each for each in described_selectors()}
    assert list(found) == sorted({*found}) == list(selector_names())
    assert all(each.summary and "\n" not in each.summary for each in found.values())
    assert found["puct"].params["backup"] == "max"
    assert "features" not in found["islands"].params
    assert found["shaped"].summary == "A user's selector that wants to know the problem."
    assert (found["shaped"].origin, found["puct"].origin) == (f"{__name__}:Shaped", None)
    assert found["gone"].summary.startswith("loading selector 'gone' from no_such_module:Thing")


def test_best_of_n_always_starts_from_the_initial_candidate():
    selector = make_selector("best-of-n", Direction.MAXIMIZE)
    selector.observe(committed_step(0, 0, (), [0.0]))
    selector.observe(committed_step(0, 1, [INITIAL], [5.0]))
    assert selector.choose(0, 4, np.random.default_rng(0)).parents == (INITIAL,)


@pytest.mark.usefixtures("installed")
def test_a_users_selector_comes_through_its_entry_point():
    assert "first" in selector_names()
    assert make_selector("first", Direction.MAXIMIZE, {"width": 3}).params == {"width": 3}
    with pytest.raises(ConfigError, match="no parameter 'depth'; it has: width"):
        make_selector("first", Direction.MAXIMIZE, {"depth": 3})


@pytest.mark.usefixtures("installed")
def test_a_users_selector_that_fails_is_named():
    with pytest.raises(ConfigError, match="making selector 'broken': RuntimeError: no luck"):
        make_selector("broken", Direction.MAXIMIZE)
    with pytest.raises(ConfigError, match="loading selector 'gone' from no_such_module:Thing"):
        make_selector("gone", Direction.MAXIMIZE)
