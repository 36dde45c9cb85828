"""``discovery selectors`` lists what there is, and a user's own come by a real entry point."""

import json
import sys

import pytest

from discovery.cli import main
from discovery.cli.settings import read_params
from discovery.errors import ConfigError
from discovery.records import Direction
from discovery.selection import make_selector

MODULE = '''
from discovery.selection import Selection

class Newest:
    """The latest candidate that was committed, whatever its score."""

    name = "newest"

    def __init__(self, direction, *, back=1):
        self.params = {"back": back}
        self._keys = {}

    def observe(self, step):
        if step.committed is not None:
            self._keys.setdefault(step.chain, []).append(step.committed)

    def choose(self, chain, count, rng):
        return Selection(parents=tuple(self._keys[chain][::-1][: self.params["back"]]))
'''


@pytest.fixture
def newest(tmp_path, monkeypatch):
    """An installed distribution with a selector: what `pip install` leaves behind."""
    (tmp_path / "newest_of_all.py").write_text(MODULE)
    info = tmp_path / "newest_of_all-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: newest-of-all\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[discovery.selectors]\nnewest = newest_of_all:Newest\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("newest_of_all", None)


@pytest.mark.usefixtures("newest")
def test_a_users_selector_is_listed_and_made(capsys):
    assert main(["selectors", "--json"]) == 0
    listed = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert listed["newest"] == {
        "name": "newest",
        "summary": "The latest candidate that was committed, whatever its score.",
        "params": {"back": 1},
        "origin": "newest_of_all:Newest",
    }
    assert listed["rpucg"]["params"]["restart"] == 50
    assert make_selector("newest", Direction.MAXIMIZE, {"back": 2}).params == {"back": 2}


@pytest.mark.usefixtures("newest")
def test_the_table_tells_each_in_one_line_which_is_usual_and_how_to_take_one(capsys):
    assert main(["selectors"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-2]] == sorted(line.split()[0] for line in lines[1:-2])
    (usual,) = (line for line in lines if "(the default)" in line)
    assert usual.startswith("rpucg ")
    (own,) = (line for line in lines if line.startswith("newest"))
    assert "(newest_of_all:Newest)" in own
    assert "--selector NAME --selector-param NAME=VALUE" in lines[-1]


def test_parameters_are_whole_numbers_numbers_or_texts():
    params = read_params(["c=0.5", "restart=10", " elites = 3 ", "draw=uniform", "low-end=1e3"])
    assert params == {"c": 0.5, "restart": 10, "elites": 3, "draw": "uniform", "low_end": 1000.0}
    assert [type(value) for value in params.values()] == [float, int, int, str, float]
    assert make_selector("rpucg", Direction.MAXIMIZE, read_params(["restart=10"])).params["restart"] == 10


@pytest.mark.parametrize("pair", ["gamma", "gamma=", "=1", "", "="])
def test_a_parameter_without_name_or_value_is_refused(pair):
    with pytest.raises(ConfigError, match="expected NAME=VALUE"):
        read_params([pair])
