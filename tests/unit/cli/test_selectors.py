"""``discovery selectors`` lists what there is, and a user's own come by a real entry point."""

import json
import re
import sys
from functools import partial
from pathlib import Path

import pytest

from discovery.cli import main
from discovery.cli.settings import read_params
from discovery.errors import ConfigError
from discovery.records import Direction
from discovery.selection import make_selector
from discovery.testing.selector import LANDSCAPES, SelectorContract, play

GUIDE = (Path(__file__).parents[3] / "docs" / "guide" / "selection.md").read_text()
(MODULE,) = (code for code in re.findall(r"```python\n(.*?)```", GUIDE, re.S) if "class Newest" in code)


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
        "summary": "The latest candidates that were committed, whatever their scores.",
        "params": {"back": 3},
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


@pytest.mark.usefixtures("newest")
def test_the_guides_own_selector_keeps_the_contract_but_for_what_it_leaves_out():
    selector = make_selector("newest", Direction.MAXIMIZE)
    contract = SelectorContract()
    make, landscape = partial(make_selector, "newest"), LANDSCAPES["continuous"]
    contract.test_a_replayed_selector_chooses_like_the_live_one(make, landscape)
    contract.test_chains_do_not_touch_each_other(make, landscape)
    contract.test_parents_are_distinct_scored_candidates_of_the_chain(make, landscape, Direction.MINIMIZE)
    played = [step for _, step in play(selector, landscape, seed=0, steps=20)]
    committed = [step.committed for step in played if step.committed]
    assert selector.choose(0, 5, None).parents == tuple(committed[:-4:-1])
