"""What `discovery score` prints for people."""

import json

from discovery.cli import main
from discovery.plugins import load_problem

PROBLEM = """from discovery import Score, problem


@problem(name="told", statement="s", initial="def solve():\\n    return 1\\n")
def score(program):
    return Score(value=program.call("solve"), feedback="the first line\\nthe second")
"""


def test_all_lines_of_a_feedback_are_indented(tmp_path, capsys):
    (tmp_path / "told.py").write_text(PROBLEM)
    (tmp_path / "s.json").write_text("2")
    assert main(["score", str(tmp_path / "told.py"), str(tmp_path / "s.json")]) == 0
    assert capsys.readouterr().out == "valid  2.0\n  the first line\n  the second\n"


def test_an_exact_score_that_rounds_to_the_best_known_is_equal_to_it(tmp_path, capsys):
    problem = load_problem("maximal-determinant-29")  # 320 / 342, which no float is
    record = problem.path.with_name("reference.json")
    assert main(["score", "maximal-determinant-29", str(record)]) == 0
    out = capsys.readouterr().out
    assert "exact  0.93567251461988304094\n" in out
    assert "this is equal\n" in out
    rows = json.loads(record.read_text())
    rows[3][5] *= -1
    (tmp_path / "less.json").write_text(json.dumps(rows))
    assert main(["score", "maximal-determinant-29", str(tmp_path / "less.json")]) == 0
    assert "this is 0.0" in capsys.readouterr().out
