"""``discovery testbed``."""

import json
import sys

import pytest

from discovery.cli import main
from discovery.testbed import landscape_names

SMALL = ["--chains", "2", "--steps", "12", "--candidates", "2", "--seeds", "4"]


def test_it_lists_the_landscapes(capsys):
    assert main(["testbed"]) == 0
    said = capsys.readouterr().out
    assert all(f"{name} " in said for name in landscape_names())
    assert main(["testbed", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in listed] == list(landscape_names())
    assert {each["direction"] for each in listed} == {"maximize", "minimize"}


def test_selectors_are_compared_in_a_table_and_in_json_alike(capsys):
    named = ["--selector", "greedy", "--selector", "rpucg:c=2,restart=7", "--selector", "best-of-n"]
    assert main(["testbed", "deceptive", *SMALL, *named]) == 0
    shown = capsys.readouterr()
    assert "4 seeds are too few for any p below 0.01 here: take --seeds 10 or more" in " ".join(
        shown.err.split()
    )
    lines = shown.out.splitlines()
    assert "48 evaluations (C=2 L=12 K=2) x 4 seeds" in lines[1]
    (row,) = (line for line in lines if line.startswith("rpucg:c=2,restart=7"))
    assert "cannot be told, p = " in row
    assert main(["testbed", "deceptive", *SMALL, *named, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["selector"] for each in told["selectors"]] == ["greedy", "rpucg:c=2,restart=7", "best-of-n"]
    mine = told["selectors"][1]
    assert mine["params"] == {"c": 2, "restart": 7}
    assert f"{mine['median_regret']:.5g}" in row
    assert len(mine["regrets"]) == 4
    assert {verdict["baseline"] for verdict in mine["verdicts"]} == {"greedy", "best-of-n"}
    assert told["evaluations"] == 48


def test_without_names_all_play_that_can_and_the_others_are_told_with_the_reason(capsys):
    assert main(["testbed", "needle", *SMALL, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    played = [each["selector"] for each in told["selectors"]]
    assert played[:2] == ["greedy", "best-of-n"]
    assert {"balance", "islands", "puct", "rpucg"} <= set(played)
    assert "no objectives" in told["left_out"]["pareto"]
    assert main(["testbed", "tradeoff", *SMALL, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "pareto" in [each["selector"] for each in told["selectors"]]


def test_a_users_selector_plays_by_its_entry_point(capsys, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from discovery.selection.greedy import Greedy\n\nclass Mine(Greedy):\n    name = 'mine'\n"
    )
    info = tmp_path / "mine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[discovery.selectors]\nmine = mine:Mine\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        assert (
            main(["testbed", "unimodal", *SMALL, "--selector", "mine", "--selector", "greedy", "--json"]) == 0
        )
    finally:
        sys.modules.pop("mine", None)
    mine, greedy = json.loads(capsys.readouterr().out)["selectors"]
    assert mine["regrets"] == greedy["regrets"]
    assert mine["verdicts"][0]["p"] == 1


def test_the_direction_and_the_generator_can_be_chosen(capsys):
    regrets = []
    for more in ([], ["--direction", "maximize"], ["--skill", "1"]):
        assert main(["testbed", "unimodal", *SMALL, "--selector", "rpucg", *more, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        regrets.append(told["selectors"][0]["regrets"])
    assert regrets[0] == regrets[1]
    assert sum(regrets[2]) < sum(regrets[0])


def test_curves_are_drawn(capsys, tmp_path):
    picture = tmp_path / "curves.png"
    for name in ("unimodal", "tradeoff"):
        assert main(["testbed", name, *SMALL, "--selector", "rpucg", "--picture", str(picture)]) == 0
        assert f"picture: {picture}" in capsys.readouterr().out
        assert picture.read_bytes()[:4] == b"\x89PNG"
        picture.unlink()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["deceptve"], "did you mean deceptive"),
        (["needle", "--selector", "best"], "no selector 'best'"),
        (["needle", "--selector", "rpucg:c"], "expected NAME or NAME:key=value"),
        (["needle", "--selector", "rpucg:d=1"], "has no parameter 'd'"),
        (["needle", "--selector", "rpucg", "--selector", "rpucg"], "each once"),
        (["needle", "--selector", "pareto"], "declares no objectives"),
        (["needle", "--selector", "greedy", "--selector", "llm-rerank:base=puct"], "asks a model"),
        (["needle", "--seeds", "0"], "seeds is 0"),
        (["needle", "--steps", "0"], "steps is 0"),
        (["needle", "--skill", "2"], "skill is 2.0"),
        (["needle", *SMALL, "--selector", "rpucg", "--picture", "/nowhere/at/all.png"], "cannot be written"),
        (["--selector", "rpucg"], "needs a landscape"),
    ],
)
def test_misuse_is_one_line_and_exit_code_2(capsys, wrong, said):
    assert main(["testbed", *wrong]) == 2
    told = capsys.readouterr()
    assert said in " ".join(told.err.split())
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
