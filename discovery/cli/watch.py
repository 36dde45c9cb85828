"""Live progress of a run on standard error: a small screen on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from discovery.bottleneck import bottleneck
from discovery.cli.app import printable as printable
from discovery.progress import BusyMeter, ChainProgress, Progress
from discovery.pulse import Quantity
from discovery.records import Direction

_BARS = "▁▂▃▄▅▆▇█"
_CHAINS_SHOWN = 12
_REFRESH_S = 0.25
_LINE_EVERY_S = 10.0
_SPARK_WIDTH = 32


@asynccontextmanager
async def watching(
    console: Console, progress: Progress, title: str, known: float | None = None
) -> AsyncIterator[None]:
    """Show progress while the body runs.

    Args:
        console: Where to.
        progress: What to show.
        title: First line: problem and run.
        known: The best score known, to compare with.
    """
    # A dumb terminal cannot go back to a line, so that a screen would show at the end only.
    live = console.is_terminal and not console.is_dumb_terminal
    task = asyncio.create_task(
        _screen(console, progress, title, known) if live else _lines(console, progress)
    )
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _screen(console: Console, progress: Progress, title: str, known: float | None) -> None:
    with Live(console=console, auto_refresh=False, transient=False) as live:
        try:
            while True:
                live.update(screen(progress, title, known), refresh=True)
                await asyncio.sleep(_REFRESH_S)
        finally:
            live.update(screen(progress, title, known), refresh=True)


async def _lines(console: Console, progress: Progress) -> None:
    pause = 2.0
    while True:
        await asyncio.sleep(pause)
        pause = min(_LINE_EVERY_S, pause * 2)
        console.print(line(progress), markup=False, highlight=False, soft_wrap=True)


def line(progress: Progress) -> str:
    """The state of a run in one line."""
    parts = [
        f"{progress.evaluations}/{progress.planned} evaluations",
        f"{progress.rate:.1f}/s",
        f"best {number(progress.best)}",
    ]
    if progress.best_key is not None:
        parts.append(f"({progress.best_key})")
    failed = sum(progress.failures.values())
    if failed:
        parts.append(f"{failed} failed")
    if progress.quarantine.total:
        parts.append(f"quarantined {progress.quarantine}")
    ended = sum(chain.end is not None for chain in progress.chains)
    if ended:
        parts.append(f"{ended} of {len(progress.chains)} chains ended")
    if progress.too_long:
        parts.append(f"{progress.too_long} parents too long")
    parts += utilisation(progress.window)
    if progress.remaining_s is not None and progress.evaluations < progress.planned and not progress.notice:
        parts.append(f"{duration(progress.remaining_s)} left")
    if progress.notice:
        parts.append(_waiting(progress.notice))
    elif (finding := bottleneck(progress.window)) is not None:
        parts.append(f"waits for {finding.thing}")
    return "  ".join(parts)


def screen(progress: Progress, title: str, known: float | None = None) -> RenderableType:
    """The state of a run as a screenful; arguments as for :func:`watching`."""
    head = Table.grid(padding=(0, 2))
    head.add_row(Text(printable(title), style="bold"))
    bar = Table.grid(padding=(0, 1))
    remaining = None if progress.notice else progress.remaining_s  # how long it will wait, nobody knows
    bar.add_row(
        ProgressBar(total=max(progress.planned, 1), completed=progress.evaluations, width=36),
        f"{progress.evaluations}/{progress.planned}",
        f"{progress.rate:.1f}/s",
        f"{duration(remaining)} left" if remaining is not None else "",
        f"{duration(progress.elapsed_s)} so far",
    )
    facts = Table.grid(padding=(0, 2))
    where = f"  candidate {progress.best_key}" if progress.best_key is not None else ""
    facts.add_row(Text("best", style="dim"), Text.assemble((number(progress.best), "bold green"), where))
    if progress.initial is not None:
        compared = f"{number(progress.initial)}{f'  best known {number(known)}' if known is not None else ''}"
        facts.add_row(Text("initial", style="dim"), compared)
    now = progress.window
    generator = percent(progress.generation, now.get(Quantity.GENERATOR_BUSY))
    evaluators = percent(progress.evaluation, now.get(Quantity.EVALUATOR_BUSY))
    facts.add_row(Text("busy", style="dim"), f"generator {generator}  evaluators {evaluators}")
    if tokens := _tokens(progress):
        facts.add_row(Text("tokens", style="dim"), tokens)
    if servers := serving(now):
        facts.add_row(Text("servers", style="dim"), "  ".join(servers))
    if Quantity.COST in now:
        facts.add_row(Text("cost", style="dim"), money(now[Quantity.COST], progress.currency))
    failures = "  ".join(f"{kind} {count}" for kind, count in progress.failures.most_common())
    if progress.duplicates:
        failures = f"{failures}  duplicates {progress.duplicates}".strip()
    facts.add_row(Text("failed", style="dim"), failures or "none")
    if progress.quarantine.total:
        facts.add_row(Text("quarantined", style="dim"), str(progress.quarantine))
    if progress.too_long:
        facts.add_row(
            Text("too long", style="dim"),
            f"the parent chosen for {progress.too_long} steps; another is improved",
        )
    if (finding := bottleneck(now)) is not None and not progress.notice:
        facts.add_row(Text("waits", style="dim"), f"for {finding.what}")
        facts.add_row("", Text(finding.fix, style="dim"))
    rows: list[RenderableType] = [head, bar, facts, _chains(progress)]
    if len(progress.chains) > _CHAINS_SHOWN:
        rows.append(Text(f"... and {len(progress.chains) - _CHAINS_SHOWN} more chains", style="dim"))
    if progress.notice:
        rows.append(Text(_waiting(progress.notice), style="yellow"))
    return Group(*rows)


def _waiting(notice: str) -> str:
    return f"waiting: {printable(' '.join(notice.split()))}"


def _chains(progress: Progress) -> Table:
    table = Table.grid(padding=(0, 2))
    for chain_number, chain in enumerate(progress.chains[:_CHAINS_SHOWN]):
        table.add_row(
            Text(f"chain {chain_number}", style="dim"),
            Text(sparkline(chain, progress.direction), style="cyan"),
            number(chain.best),
            Text(f"step {chain.steps}", style="dim"),
            Text(_fate(chain), style="dim"),
        )
    return table


def _fate(chain: ChainProgress) -> str:
    """What a chain waits for or came to, where it is not simply at work."""
    if chain.end is not None:
        return chain.end
    if chain.waits_at is not None:
        return f"waits at rung {chain.waits_at}"
    return f"{chain.restarts} restarts" if chain.restarts else ""


def sparkline(chain: ChainProgress, direction: Direction) -> str:
    """A chain's best score over its steps, higher bars being better."""
    values = [direction.key(value) for value in chain.history]
    if not values:
        return ""
    if len(values) > _SPARK_WIDTH:
        stride = len(values) / _SPARK_WIDTH
        values = [values[int(i * stride)] for i in range(_SPARK_WIDTH - 1)] + values[-1:]
    low, high = min(values), max(values)
    span = high / 2 - low / 2  # halves, since the whole may overflow
    if span == 0:
        return _BARS[0] * len(values)
    return "".join(_BARS[int((value / 2 - low / 2) / span * (len(_BARS) - 1))] for value in values)


def number(value: float | None) -> str:
    """A score for people: up to ten significant digits."""
    return "-" if value is None else f"{value:.10g}"


def percent(meter: BusyMeter | None, share: float | None = None) -> str:
    """A utilisation for people: the share given, or without one that since the beginning."""
    if share is None and meter is not None:
        share = meter.utilisation
    return "-" if share is None or meter is None else f"{100 * share:.0f} % of {meter.slots}"


def utilisation(window: Mapping[str, float]) -> list[str]:
    """What a window says of the servers, in words; nothing of what is not known, or is not spent at all."""
    rate = _tokens_per_s(window)
    return [*([f"{rate:,.0f} tokens/s"] if rate else []), *serving(window)]


def _tokens_per_s(window: Mapping[str, float]) -> float:
    """Generated tokens per second: as the servers count, else those of completions that came."""
    ours = window.get(Quantity.COMPLETION_TOKENS_PER_S, 0.0)
    return window.get(Quantity.SERVER_COMPLETION_TOKENS_PER_S, ours)


def serving(window: Mapping[str, float]) -> list[str]:
    """What a window says of how the servers stand, in words; nothing of what is not known."""
    shown = (
        (Quantity.SERVER_RUNNING, "{:,.0f} running"),
        (Quantity.SERVER_WAITING, "{:,.0f} waiting"),
        (Quantity.CACHE_HIT_RATE, "prefix cache {:.0%}"),
        (Quantity.KV_USAGE, "KV {:.0%}"),
    )
    said = [words.format(window[name]).replace("%", " %") for name, words in shown if name in window]
    servers = window.get(Quantity.SERVERS, 0.0)
    return [f"{servers:.0f} servers", *said] if said and servers > 1.5 else said


def _tokens(progress: Progress) -> str:
    rate = _tokens_per_s(progress.window)
    parts = [f"{rate:,.0f}/s"] if rate else []
    if progress.completion_tokens:
        parts.append(f"{progress.prompt_tokens:,} prompt  {progress.completion_tokens:,} completion")
    return "  ".join(parts)


def money(amount: float, currency: str) -> str:
    """An amount for people: to the hundredth, smaller ones to three digits."""
    return f"{amount:,.2f} {currency}" if amount >= 1 else f"{amount:.3g} {currency}"


def duration(seconds: float) -> str:
    """Seconds for people: ``42 s``, ``3 min 05 s``, ``2 h 07 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def plain(text: str) -> str:
    """Text that a model or a candidate wrote, safe to print: no control codes, no markup."""
    return escape(printable(text))
