"""Pictures: a PNG comes of every run, however odd, and faults of a problem's own picture are named as such."""

import struct
import zlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from discovery import plots
from discovery.declared import KnownBest
from discovery.errors import ProblemError
from discovery.plots import Panel, plot_progress, plot_series, plot_solution
from discovery.problem import problem
from discovery.records import Direction


def size_of(path):
    """Width and height of a PNG whose every chunk is sound."""
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    at, kinds = 8, []
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        body = content[at + 4 : at + 8 + length]
        assert zlib.crc32(body) == struct.unpack_from(">I", content, at + 8 + length)[0]
        kinds.append(body[:4])
        at += 12 + length
    assert (kinds[0], kinds[-1]) == (b"IHDR", b"IEND")
    return struct.unpack_from(">II", content, 16)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures = []
    save = Figure.savefig

    def keep(figure, *args, **kwargs):
        figures.append(figure)
        return save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def draw(folder, scores, direction=Direction.MAXIMIZE, initial=0.5, title="toy: mutation, rpucg", known=()):
    path = folder / "progress.png"
    known_best = [KnownBest(value=value, source="x") for value in known]
    plot_progress(path, scores, title=title, direction=direction, initial=initial, known_best=known_best)
    assert size_of(path) == (960, 540)
    return path


SCORES = {
    "empty": [],
    "failed": [None] * 5,
    "single": [1.0],
    "equal": [0.5, 0.5, 0.5],
    "outliers": [1.0, None, -1e300, 1e300, 1.5],
    "largest": [1e305, -1e305],
    "smallest": [5e-324, 0.0],
    "close": [1 + 1e-15, 1.0, 1 + 2e-15],
}
KINDS = {
    "maximize": (Direction.MAXIMIZE, None, ()),
    "minimize": (Direction.MINIMIZE, 0.5, ()),
    "known": (Direction.MINIMIZE, None, (2.0,)),
}
OFTEN = {
    *((scores, "maximize") for scores in SCORES),
    *((scores, kind) for scores in ("empty", "outliers", "largest") for kind in KINDS),
}
"""At each change: all scores, and those with each kind that have nothing or the most to make room for."""


@pytest.mark.parametrize(
    ("scores", "kind"),
    [
        pytest.param(scores, kind, marks=() if (scores, kind) in OFTEN else pytest.mark.weekly)
        for scores in SCORES
        for kind in KINDS
    ],
)
def test_every_run_has_a_picture(tmp_path, scores, kind):
    """The other pairs are drawn weekly: each part of them is drawn here in another pair."""
    direction, initial, known = KINDS[kind]
    draw(tmp_path, SCORES[scores], direction, initial, known=known)


def test_the_line_is_the_best_so_far_and_dots_are_what_was_scored(tmp_path, drawn):
    draw(tmp_path, [0.4, None, 1.0, 0.7, 1.2, None], known=(2.0, 1.5))
    axes = drawn[0].axes[0]
    dots, line, known = axes.lines
    assert (list(dots.get_xdata()), list(dots.get_ydata())) == ([1, 3, 4, 5], [0.4, 1.0, 0.7, 1.2])
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([0, 3, 5, 6], [0.5, 1.0, 1.2, 1.2])
    assert set(known.get_ydata()) == {2.0}
    assert axes.get_ylabel() == "score (maximize)"


def test_less_is_better_when_minimising(tmp_path, drawn):
    draw(tmp_path, [0.6, 0.4, 0.45], Direction.MINIMIZE, known=(0.1, 0.2))
    _, line, known = drawn[0].axes[0].lines
    assert list(line.get_ydata()) == [0.5, 0.4, 0.4]
    assert set(known.get_ydata()) == {0.1}


def test_outliers_do_not_squash_the_rest(tmp_path, drawn):
    draw(tmp_path, [0.6, -1e12, 0.9], known=(1.0,))
    low, high = drawn[0].axes[0].get_ylim()
    assert 0 < low < 0.5
    assert 1.0 < high < 2.0


def test_the_legend_lies_beside_the_data(tmp_path, drawn):
    draw(tmp_path, [float(n % 7) for n in range(100)], known=(8.0,))
    (figure,) = drawn
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "evaluations",
        "best so far 6",
        "best known 8",
    ]
    assert not legend.get_window_extent().overlaps(figure.axes[0].get_window_extent())


@pytest.mark.parametrize(
    "title", ["m" * 500, "a $\\frac{ b$", "größe", ""], ids=["long", "math", "umlaut", "none"]
)
def test_titles_are_shown_as_they_are_and_fit(tmp_path, drawn, title):
    draw(tmp_path, [1.0, 2.0], title=title)
    shown = drawn[0].axes[0].get_title(loc="left")
    assert shown == title if len(title) < 50 else shown.endswith("...")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=30),
    st.none() | st.floats(-10, 10),
    st.sampled_from(Direction),
)
def test_the_best_so_far_only_improves_and_reaches_the_end(scores, initial, direction):
    xs, ys = plots._best_so_far(scores, direction, initial)
    found = [score for score in [initial, *scores] if score is not None]
    if not found:
        assert (xs, ys) == ([], [])
        return
    assert xs == sorted(xs)
    assert xs[-1] == len(scores)
    keys = [direction.key(y) for y in ys]
    assert all(a < b for a, b in pairwise(keys[:-1]))
    assert keys[-1] == keys[-2] == max(map(direction.key, found))


def toy(picture):
    return problem(name="toy", statement="s", initial="x = 1\n", picture=picture)(lambda program: 0.0)


def test_a_problem_draws_its_own_solution(tmp_path):
    seen = []

    def picture(artifact, axes):
        seen.append(artifact)
        axes.imshow(np.array(artifact))

    path = tmp_path / "best.png"
    assert plot_solution(path, toy(picture), [[1, 2], [3, 4]], "toy: 1 $x_{$ " + "m" * 200)
    assert seen == [[[1, 2], [3, 4]]]
    assert size_of(path) == (720, 756)


@pytest.mark.parametrize(("picture", "artifact"), [(None, [1]), (lambda artifact, axes: None, None)])
def test_there_is_no_picture_without_a_function_or_a_solution(tmp_path, picture, artifact):
    assert plot_solution(tmp_path / "best.png", toy(picture), artifact, "toy") is False
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "picture",
    [
        lambda artifact, axes: artifact["x"],
        lambda artifact, axes: axes.set_xlabel("$\\frac{$"),
    ],
    ids=["while drawing", "while rendering"],
)
def test_a_picture_function_that_raises_is_the_problems_fault(tmp_path, picture):
    with pytest.raises(ProblemError, match="the picture function of problem 'toy'"):
        plot_solution(tmp_path / "best.png", toy(picture), [1], "toy")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_an_ordinary_error(tmp_path):
    with pytest.raises(OSError):
        draw(tmp_path / "none", [1.0])


def test_a_problems_own_title_stands_alone(tmp_path, drawn):
    assert plot_solution(tmp_path / "own.png", toy(lambda _, axes: axes.set_title("mine")), [1], "ours")
    assert plot_solution(tmp_path / "none.png", toy(lambda _, axes: axes.plot([1, 2])), [1], "ours")
    titles = [[f.axes[0].get_title(loc=place) for place in ("left", "center")] for f in drawn]
    assert titles == [["", "mine"], ["ours", ""]]


known = st.none() | st.floats(0, 1e9)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=settings.default.max_examples // 6,
)
@given(
    st.integers(1, 400).flatmap(
        lambda n: st.tuples(
            st.lists(st.floats(0, 100), min_size=n, max_size=n),
            st.lists(st.lists(known, min_size=n, max_size=n), min_size=1, max_size=3),
        )
    )
)
def test_a_picture_comes_of_every_series(tmp_path, points):
    seconds, lines = points
    path = tmp_path / "series.png"
    named = {f"line {n}": values for n, values in enumerate(lines)}
    panels = [Panel(label="tokens/s", lines=named), Panel(label="busy, %", lines=named, is_share=True)]
    plot_series(path, seconds, panels, title="a $run$ " * 30)
    assert size_of(path) == (960, 552)


def test_a_series_goes_over_minutes_with_gaps_where_nothing_is_known(tmp_path, drawn):
    panels = [
        Panel(label="tokens/s", lines={"generated": [100.0, None, 400.0]}),
        Panel(
            label="busy, %",
            lines={"generator": [0.5, 0.5, 1.0], "evaluators": [None, 0.1, 0.2]},
            is_share=True,
        ),
    ]
    plot_series(tmp_path / "series.png", [60.0, 60.0, 30.0], panels, title="run")
    upper, lower = drawn[0].axes
    assert list(upper.lines[0].get_xdata()) == [0.0, 1.0, 2.0, 2.5]
    assert np.array_equal(upper.lines[0].get_ydata(), [100.0, 100.0, np.nan, 400.0], equal_nan=True)
    assert list(lower.lines[0].get_ydata()) == [50.0, 50.0, 50.0, 100.0]
    said = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in (upper, lower)]
    assert said == [["generated, mean 200"], ["generator, mean 60 %", "evaluators, mean 13 %"]]
    assert upper.get_ylim()[0] == 0
    assert lower.get_xlabel() == "minutes of work"


def test_a_short_series_goes_over_seconds(tmp_path, drawn):
    panels = [Panel(label="tokens/s", lines={"generated": [100.0, 200.0]})]
    plot_series(tmp_path / "series.png", [10.0, 3.0], panels, title="run")
    (axes,) = drawn[0].axes
    assert (list(axes.lines[0].get_xdata()), axes.get_xlabel()) == ([0.0, 10.0, 13.0], "seconds of work")
