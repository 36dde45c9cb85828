"""The report: all of it in one page that needs no other, safe to open whatever things are called."""

import csv
import io
import json
import re
from html.parser import HTMLParser

import pytest

from discovery.comparison.curves import best_so_far
from discovery.comparison.folder import ComparisonFolder
from discovery.comparison.page import page
from discovery.comparison.report import as_dict, curves_csv
from discovery.errors import ConfigError, UsageError
from discovery.records import Direction


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """Pictures whose looks do not matter."""
    monkeypatch.setattr("discovery.comparison.pictures._DPI", 20)


@pytest.fixture
def blank(monkeypatch):
    """Pictures are drawn and not rendered: of the page only the text is looked at."""
    monkeypatch.setattr("discovery.comparison.pictures._png", lambda figure: b"")


EVIL = "<script>alert(1)</script>$x^{$"
VOID = {"meta", "img", "source", "br"}


class Reader(HTMLParser):
    """Checks that tags are closed in order, and keeps those that are opened."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(text):
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def test_the_page_needs_nothing_else_and_escapes_all_names(report):
    said = report({EVIL: [2.0, 3, 4, 5, 6, 7], "old": [1.0] * 6}, baseline="old", known=9.0)
    text = page(said, "discovery compare --resume '<b>'")
    reader = read(text)
    assert not [tag for tag, _ in reader.seen if tag in ("script", "link", "iframe", "b&gt;")]
    places = [
        attrs.get(name) for _, attrs in reader.seen for name in ("src", "srcset", "href") if name in attrs
    ]
    assert places
    assert all(place.startswith("data:image/png;base64,") for place in places)
    assert not re.search(r"https?://", text)
    whole = " ".join("".join(reader.text).split())
    assert f"{EVIL} beats old at 64 evaluations: better in 6 of 6 seeds" in whole
    assert "discovery compare --resume '<b>'" in whole


@pytest.mark.usefixtures("blank")
def test_a_table_of_c_and_k_is_shown_where_settings_differ_in_nothing_else(report, plan, curves):
    from discovery.comparison.plan import Asked, Axis, planned
    from discovery.comparison.report import About, report_of
    from discovery.config import RunConfig
    from discovery.plugins import load_problem

    axes = (
        Axis(path="search.chains", values=(1, 4)),
        Axis(path="search.candidates", values=(1, 4)),
    )
    asked = Asked(base=RunConfig(problem="constants-10"), axes=axes, budgets=(64,))
    grid = planned(asked, load_problem("constants-10"), (0, 1, 2))
    made = [curves(s, [n, n + 1, n + 2]) for n, s in enumerate(grid.settings, start=1)]
    about = About(direction=Direction.MINIMIZE, is_noisy=False, known=None)
    text = page(report_of(grid, made, about, finished=12), "again")
    assert "Median final score by C and K" in text
    assert "L = 64" in text
    assert "Median final score by C and K" not in page(report({"a": [1.0, 2], "b": [2.0, 2]}), "again")


def test_what_other_programs_read_holds_what_the_page_says(report):
    said = report({"new": [2.0, 3, 4, 5, 6, 7], "old": [1.0, 2, 2, 2, 2, 2]}, baseline="old")
    data = json.loads(json.dumps(as_dict(said), allow_nan=False))
    assert data["verdict"] == said.verdict()
    (budget,) = data["budgets"]
    assert (budget["recommended"], budget["baseline"], budget["smallest_possible_p"]) == (
        "new",
        "old",
        0.03125,
    )
    assert budget["settings"][0]["finals"] == [2.0, 3, 4, 5, 6, 7]
    assert budget["settings"][0]["against_baseline"]["p"] == 0.03125
    rows = list(csv.DictReader(io.StringIO(curves_csv(said))))
    for final in said.budgets[0].finals:
        for run in final.curves.runs:
            own = {int(r["evaluations"]): float(r["best"]) for r in rows if r["run"] == run.run}
            filled = [own.get(n) for n in range(len(run.best))]
            last = None
            for n, value in enumerate(filled):
                last = filled[n] = last if value is None else value
            assert filled == list(run.best)


@pytest.mark.usefixtures("blank")
def test_several_budgets_are_shown_each_and_a_law_through_the_best_of_them(curves):
    from discovery.comparison.plan import Asked, Axis, planned
    from discovery.comparison.report import About, report_of
    from discovery.config import RunConfig
    from discovery.plugins import load_problem

    axes = (Axis(path="search.selector", values=("rpucg", "balance")),)
    asked = Asked(base=RunConfig(problem="constants-10"), axes=axes, budgets=(16, 32, 64, 128))
    plan = planned(asked, load_problem("constants-10"), (0, 1, 2))
    made = [curves(s, [-(s.budget**-0.5) - n / 100 for n in range(3)], initial=-1.0) for s in plan.settings]
    said = report_of(plan, made, About(direction=Direction.MAXIMIZE, is_noisy=False, known=None), finished=24)
    assert len(said.contested) == 4
    assert said.across.law.exponent == pytest.approx(0.5, rel=0.05)
    text = page(said, "again")
    read(text)
    assert "The best split at each budget" in text
    assert [n for n in (16, 32, 64, 128) if f"<h2>N = {n}:" in text] == [16, 32, 64, 128]


@pytest.mark.parametrize("direction", list(Direction))
def test_the_best_so_far_starts_at_the_initial_score_and_passes_failures(direction):
    sign = 1 if direction is Direction.MAXIMIZE else -1
    best = best_so_far([None, 2.0 * sign, 1.0 * sign, None, 3.0 * sign], 1.0 * sign, direction)
    assert list(sign * best) == [1, 1, 2, 2, 2, 3]


@pytest.mark.usefixtures("blank")
def test_a_comparison_is_found_by_its_id_or_its_folder(tmp_path, monkeypatch, plan, report):
    monkeypatch.chdir(tmp_path)
    comparison = plan(["a", "b"])
    with pytest.raises(UsageError, match="no comparison was started in this folder"):
        ComparisonFolder.named(comparison.id)
    folder = ComparisonFolder.of(comparison)
    folder.save_plan(comparison)
    assert ComparisonFolder.named(comparison.id).plan() == comparison
    assert ComparisonFolder.named(str(folder.path)).plan() == comparison
    with pytest.raises(UsageError, match=f"no comparison 'x' in discovery-runs; here are: {comparison.id}"):
        ComparisonFolder.named("x")
    folder.save_report(report({"a": [1.0, 2], "b": [3.0, 4]}), "again")
    assert {path.name for path in folder.path.iterdir()} == {
        "plan.json",
        "report.html",
        "report.json",
        "curves.csv",
    }
    (folder.path / "plan.json").write_text("{")
    with pytest.raises(ConfigError, match="expected the plan of a comparison"):
        folder.plan()


def test_pictures_are_drawn_of_what_hardly_differs(report):
    """Equal scores, huge ones and tiny ones each give a page."""
    for finals in ([1.0, 1.0], [1e-30, 5e30], [-3.0, 0.0]):
        text = page(report({"a": finals, "b": finals[::-1]}), "again")
        assert text.count("data:image/png") >= 4
