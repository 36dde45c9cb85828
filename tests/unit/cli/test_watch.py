"""What is shown of a running search: every state fits on the screen, and nothing shown can act on the terminal."""

import asyncio
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.markup import render

from discovery.cli import watch
from discovery.cli.app import out
from discovery.cli.watch import (
    duration,
    line,
    money,
    number,
    percent,
    plain,
    printable,
    screen,
    sparkline,
    watching,
)
from discovery.progress import BusyMeter, ChainProgress, Progress, Quarantine
from discovery.pulse import Quantity as Q
from discovery.records import CandidateKey, Direction, FailureKind

HOSTILE = "\x1b]0;owned\x07\x1b[2J[bold red]x[/] [link=http://a]b\x9b31m\u202e\r\x08"
ANY = st.text(st.characters() | st.sampled_from("[]/\\\x1b\x07\x9b\u202e\r\n\t:b"), max_size=40)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def empty(chains=4, planned=100):
    return Progress(Direction.MAXIMIZE, planned, chains, clock=Clock())


def full():
    """A long run of many chains, with everything that can be shown and the largest numbers that may occur."""
    clock = Clock()
    tally = Progress(Direction.MAXIMIZE, 1_000_000, 20, clock=clock)
    tally.generation, tally.evaluation = BusyMeter(128, clock), BusyMeter(64, clock)
    tally.generation.change(100)
    tally.evaluation.change(64)
    clock.now = 7384.0
    for n in range(2000):
        clock.now += 0.01
        chain, step = n % 20, n // 20 + 1
        failure = list(FailureKind)[n % len(FailureKind)] if n % 3 == 0 else None
        tally.evaluated(
            CandidateKey(chain, step, 0), n / 7 if not failure else None, failure, duplicate=n % 5 == 0
        )
        tally.chains[chain].committed(step)
    tally.evaluations = 876_543
    tally.initial = 2.123456789012
    tally.announce(CandidateKey(19, 43_827, 3), 2.635863123456789)
    tally.prompt_tokens, tally.completion_tokens = 123_456_789, 98_765_432
    return tally


def shown(tally, width, title="circle-packing-26  run 20260101-094806-abcdef"):
    """The lines of the screen as a terminal of that width has them, without what pads them."""
    console = Console(file=io.StringIO(), width=width, height=50, force_terminal=True, color_system=None)
    console.print(screen(tally, title))
    return [text.rstrip() for text in console.file.getvalue().splitlines()]


@pytest.mark.parametrize("width", range(80, 121, 5))
def test_a_full_screen_fits(width):
    lines = shown(full(), width)
    assert all(len(text) <= width for text in lines)
    assert lines[0] == "circle-packing-26  run 20260101-094806-abcdef"
    assert "876543/1000000 100.0/s 20 min 35 s left 2 h 03 min so far" in lines[1]
    assert lines[2] == "best     2.635863123  candidate 19.43827.3"
    assert lines[3] == "initial  2.123456789"
    assert lines[4] == "busy     generator 78 % of 128  evaluators 100 % of 64"
    assert lines[5] == "tokens   123,456,789 prompt  98,765,432 completion"
    assert lines[6].startswith("failed   ")
    chains = [n for n, text in enumerate(lines) if text.startswith("chain ")]
    assert len(chains) == 12
    assert chains == list(range(chains[0], chains[0] + 12)), "no chain takes two lines"
    assert len({lines[n].index("step ") for n in chains}) == 1
    assert lines[chains[-1] + 1 :] == ["... and 8 more chains"]


WINDOW = {
    Q.WINDOW_S: 30.0,
    Q.GENERATOR_BUSY: 0.973,
    Q.EVALUATOR_BUSY: 0.31,
    Q.GENERATION_SLOTS: 128.0,
    Q.REQUESTS_WAITING: 12.3,
    Q.SERVERS: 3.0,
    Q.SERVER_RUNNING: 1234.0,
    Q.SERVER_WAITING: 456.0,
    Q.CACHE_HIT_RATE: 0.871,
    Q.KV_USAGE: 0.456,
    Q.SERVER_COMPLETION_TOKENS_PER_S: 123_456.7,
    Q.COMPLETION_TOKENS_PER_S: 120_000.0,
    Q.COST: 1234.567,
}


@pytest.mark.parametrize("width", range(80, 121, 5))
def test_utilisation_fits_on_a_full_screen(width):
    tally = full()
    tally.currency = "EUR"
    tally.window = WINDOW
    lines = shown(tally, width)
    assert all(len(text) <= width for text in lines)
    assert lines[4:9] == [
        "busy     generator 97 % of 128  evaluators 31 % of 64",
        "tokens   123,457/s  123,456,789 prompt  98,765,432 completion",
        "servers  3 servers  1,234 running  456 waiting  prefix cache 87 %  KV 46 %",
        "cost     1,234.57 EUR",
        lines[8],
    ]
    waits = next(n for n, text in enumerate(lines) if text.startswith("waits "))
    assert lines[waits : waits + 2] == [
        "waits    for the model: 12 requests wait here, 456 completions there",
        "         only more or faster servers help",
    ]
    assert lines[waits + 2].startswith("chain 0 ")
    without = shown(full(), width)
    assert lines[2:4] == without[2:4], "nothing moves sideways when the first second is over"


def test_what_is_not_known_of_servers_is_not_shown():
    tally = full()
    tally.window = {
        Q.GENERATOR_BUSY: 0.5,
        Q.COMPLETION_TOKENS_PER_S: 12.0,
        Q.SERVERS: 1.0,
        Q.SERVER_WAITING: 0.0,
    }
    text = "\n".join(shown(tally, 80))
    assert "tokens   12/s  123,456,789 prompt" in text
    assert "servers  0 waiting\n" in text
    assert "cost" not in text
    tally.window = {Q.GENERATOR_BUSY: 0.5, Q.COMPLETION_TOKENS_PER_S: 0.0}
    text = "\n".join(shown(tally, 80))
    assert "tokens   123,456,789 prompt" in text
    assert "servers" not in text


def test_a_run_that_waits_for_what_is_gone_says_only_that():
    tally = full()
    tally.window = WINDOW
    tally.notice = "generator: connection refused"
    text = "\n".join(shown(tally, 80))
    assert "waits  " not in text
    assert "waiting: generator: connection refused" in text
    assert "waits for" not in line(tally)


def test_a_line_says_how_the_servers_are_and_who_waits():
    tally = full()
    tally.window = WINDOW
    failed = sum(tally.failures.values())
    assert line(tally).endswith(
        f"{failed} failed  123,457 tokens/s  3 servers  1,234 running  456 waiting  prefix cache 87 %  KV 46 %"
        "  20 min 35 s left  waits for the model"
    )


@pytest.mark.parametrize(
    ("amount", "text"), [(0.0, "0 EUR"), (0.00421, "0.00421 EUR"), (1234.0, "1,234.00 EUR")]
)
def test_amounts(amount, text):
    assert money(amount, "EUR") == text


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("tally", [empty(), empty(1, 0)], ids=["empty", "nothing planned"])
def test_an_empty_screen_fits(width, tally):
    lines = shown(tally, width)
    assert len(lines) == 5 + len(tally.chains)
    assert lines[1].endswith(f"0/{tally.planned} 0.0/s  0 s so far")
    assert lines[2:5] == ["best    -", "busy    generator -  evaluators -", "failed  none"]
    assert lines[5].split() == ["chain", "0", "-", "step", "0"]


def test_results_in_doubt_are_counted_once_there_are_any():
    tally = empty()
    assert "quarantined" not in line(tally) + "".join(shown(tally, 80))
    tally.quarantine = Quarantine(total=3, agreed=2, disagreed=1)
    assert "quarantined 3: 2 agreed, 1 disagreed" in line(tally)
    tally = full()
    tally.quarantine = Quarantine(total=123_457, agreed=100_000, disagreed=23_456)
    assert "quarantined  123457: 100000 agreed, 23456 disagreed, 1 being scored again" in shown(tally, 80)


def test_a_run_that_waits_does_not_say_how_long_it_takes():
    tally = full()
    assert "left" in line(tally)
    tally.notice = "no sandbox can be started"
    assert " left" not in line(tally) + "".join(shown(tally, 80))
    assert "waiting: no sandbox can be started" in line(tally)


def test_texts_from_elsewhere_cannot_act_on_the_terminal():
    tally = full()
    tally.notice = HOSTILE
    lines = shown(tally, 100, title=HOSTILE)
    for text in lines:
        assert text.isprintable()
    assert "[bold red]x[/]" in lines[0]
    assert any(text.startswith("waiting: ") and "[link=http://a]b" in text for text in lines)


@given(ANY)
def test_what_is_printable_has_no_control_codes(text):
    safe = printable(text)
    assert all(c.isprintable() or c in "\n\t" for c in safe)
    assert len(safe) == len(text.replace("\r\n", "\n"))
    assert printable(safe) == safe
    safe.encode()


@given(ANY)
def test_plain_text_is_shown_as_it_is_without_markup(text):
    """Rich reads the escaped text back as the text: no style, no link, nothing lost."""
    read = render(f"{plain(text)}[bold][/bold]", emoji=False)
    assert read.plain == printable(text)
    assert not any(span.start < span.end for span in read.spans)


def test_plain_text_prints_as_it_is():
    console = Console(file=io.StringIO(), width=200, force_terminal=True, color_system="truecolor")
    console.print(plain("d[x]: [bold]y[/bold] \x1b[31m\r\n\tz"), highlight=False)
    assert console.file.getvalue() == "d[x]: [bold]y[/bold] �[31m\n        z\n"


def test_a_program_is_printed_as_it_is_on_the_real_console(capsys):
    out.print(plain("x = d[a:warning:b]  # [red] :smile:"))
    assert capsys.readouterr().out == "x = d[a:warning:b]  # [red] :smile:\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (7620, "2 h 07 min"),
        (360_000, "100 h 00 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0"),
        (2.63586300049, "2.635863"),
        (2.635863123456, "2.635863123"),
        (1 / 3, "0.3333333333"),
        (-1e300, "-1e+300"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text


def test_shares():
    clock = Clock()
    meter = BusyMeter(4, clock)
    assert percent(None) == percent(meter) == "-"
    meter.change(1)
    clock.now = 2.0
    assert percent(meter) == "25 % of 4"
    assert percent(meter, 0.5) == "50 % of 4"


histories = st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=64)


@given(histories, st.sampled_from(Direction))
def test_a_sparkline_is_as_long_as_its_history_and_rises_with_quality(history, direction):
    history = sorted(history, key=direction.key)
    bars = sparkline(ChainProgress(history=history), direction)
    assert len(bars) == min(len(history), 32)
    assert list(bars) == sorted(bars)
    if history and direction.key(history[-1]) / 2 > direction.key(history[0]) / 2:
        assert (bars[0], bars[-1]) == ("▁", "█")
    else:
        assert set(bars) <= {"▁"}


def test_a_sparkline_shows_where_it_rose():
    assert sparkline(ChainProgress(history=[0.0, 1.0, 3.5, 7.0]), Direction.MAXIMIZE) == "▁▂▄█"
    assert sparkline(ChainProgress(history=[7.0, 3.5, 0.0]), Direction.MINIMIZE) == "▁▄█"


def test_a_line_says_what_there_is():
    assert line(empty()) == "0/100 evaluations  0.0/s  best -"
    tally = full()
    failed = sum(tally.failures.values())
    expected = f"best 2.635863123  (19.43827.3)  {failed} failed  20 min 35 s left"
    assert line(tally) == f"876543/1000000 evaluations  100.0/s  {expected}"
    tally.evaluations = tally.planned
    tally.notice = "the server is away"
    assert line(tally).endswith(f"{failed} failed  waiting: the server is away")


async def test_lines_are_printed_now_and_then_where_there_is_no_terminal(monkeypatch):
    naps = []

    async def nap(seconds):
        naps.append(seconds)
        if len(naps) > 4:
            await asyncio.Event().wait()

    monkeypatch.setattr(watch.asyncio, "sleep", nap)
    console = Console(file=io.StringIO(), width=40)
    tally = full()
    tally.notice = HOSTILE + "\nand more"
    async with watching(console, tally, "toy"):
        for _ in range(20):
            await _turn()
    lines = console.file.getvalue().splitlines()
    assert naps == [2.0, 4.0, 8.0, 10.0, 10.0]
    assert lines == [line(tally)] * 4, "each on one line, however narrow the console"
    assert all(text.isprintable() for text in lines)


async def _turn():
    """One turn of the event loop."""
    turned = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(turned.set_result, None)
    await turned


async def test_the_screen_ends_with_the_last_state_also_after_an_error():
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    tally = empty()

    async def fail():
        async with watching(console, tally, "toy"):
            await _turn()
            tally.announce(CandidateKey(0, 1, 0), 0.125)
            raise KeyError("stop")

    with pytest.raises(KeyError):
        await fail()
    assert "0.125  candidate 0.1.0" in console.file.getvalue()
    assert len(asyncio.all_tasks()) == 1, "nothing goes on"


async def test_a_dumb_terminal_gets_lines(monkeypatch):
    monkeypatch.setattr(watch.asyncio, "sleep", lambda _: _turn())
    console = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})
    async with watch.watching(console, full(), "title"):
        await _turn()
        await _turn()
    assert "evaluations" in console.file.getvalue()
    assert "\x1b" not in console.file.getvalue()
