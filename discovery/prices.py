"""The user's table of prices by model.

A small TOML file: each table in it is headed by a model's name, in which shell patterns may stand, and the first
that fits a model is taken. What the prices are, only the user knows: none come with this package. What applied is
stored with the run, so that its cost is told by the prices of its time.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from discovery.budget import Prices, Tokens
from discovery.config import RunConfig, from_dict
from discovery.errors import ConfigError
from discovery.generators import EMBEDDED
from discovery.records import ModelIdentity, TokenUsage
from discovery.usertable import UserTable

COMMON = ("currency", "source", "date")
"""What may stand at the top, for all tables that do not say otherwise."""

TEMPLATE = """\
# What models cost. Each table is headed by the name of a model as its server gives it; shell patterns are
# allowed (* ? [ab]), and the first table that fits is taken. `discovery prices MODEL` says which.
#
#   prompt       per million prompt tokens
#   completion   per million completion tokens, reasoning included
#   cached       per million prompt tokens that the server had in its cache (left out: as the others)
#   hour         per hour of the run's wall time: a machine of your own, alone or beside prices of tokens
#   source, date for yourself: where and when you read them; shown with the prices
#
# The names and numbers below are made up. Take the # away and put yours.

currency = "USD"

# ["acme/imaginary-9b*"]
# prompt = 1.0
# completion = 2.0
# cached = 0.5
# source = "the price list of a provider that does not exist"
# date = "1999-12-31"

# ["*"]
# hour = 100.0
# source = "rent of a machine that does not exist"
"""

FILE = UserTable(name="prices", environment="DISCOVERY_PRICES", template=TEMPLATE)
"""Where it lies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One table of the file.

    Args:
        pattern: A model's name, with shell patterns.
        prices: What it costs.
    """

    pattern: str
    prices: Prices


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """Prices by model.

    Args:
        path: Where they were read, or would be; None for nowhere.
        entries: In the order of the file.
    """

    path: Path | None = None
    entries: tuple[Entry, ...] = ()

    def find(self, model: str | None) -> Entry | None:
        """The first entry that fits a model; None when none does, or there is no model."""
        if model is None:
            return None
        return next((entry for entry in self.entries if fnmatchcase(model, entry.pattern)), None)


def load_prices(path: Path | None = None) -> PriceTable:
    """Read the table; as :meth:`UserTable.load`.

    Raises:
        ConfigError: The file was asked for and is not there, or is no table of prices; names the place.
    """
    chosen, entries = FILE.load(path, _entries)
    return PriceTable(path=chosen, entries=entries)


def priced(config: RunConfig, model: str | None, table: PriceTable) -> RunConfig:
    """A configuration with the prices that apply: its own, else those of the table for its model.

    Args:
        config: The run's.
        model: As the server names it; None where there is none, as for the embedded mutations.
        table: The user's.

    Raises:
        ConfigError: Money is capped, but nothing that the run does has a price.
    """
    prices = config.prices
    if not prices.is_known and (entry := table.find(model)) is not None:
        prices = entry.prices
    cap = config.budget.max_cost
    if cap is not None and not any((prices.prompt, prices.completion, prices.hour)):
        raise ConfigError(f"max_cost is {cap:g}, {_unpriced(prices, model, table)}")
    return dataclasses.replace(config, prices=prices)


def priced_members(config: RunConfig, models: Mapping[str, str | None], table: PriceTable) -> RunConfig:
    """A mixture's configuration with the prices that apply: its own for all, else those of each member's model.

    The prices of the run are then, of each kind, the dearest member's, by which is reckoned what is not known yet; an
    hour costs what all machines cost. Where one model has no price, nothing has: a part of a cost would mislead.

    Args:
        config: The run's; prices that its members have already stay.
        models: As the members' servers name them.
        table: The user's.

    Raises:
        ConfigError: Money is capped and a model has no price, or prices do not go together.
    """
    generator = config.generator
    if config.prices.is_known:
        return priced(config, None, table)
    found: dict[str, Prices] = {}
    for member in generator.members:
        entry = table.find(models.get(member.name))
        if member.prices is not None:
            found[member.name] = member.prices
        elif member.kind == EMBEDDED:
            found[member.name] = Prices(prompt=0.0, completion=0.0)
        elif entry is not None:
            found[member.name] = entry.prices
        elif config.budget.max_cost is not None:
            unpriced = _unpriced(Prices(), models.get(member.name), table)
            raise ConfigError(f"max_cost is {config.budget.max_cost:g}, {unpriced}")
        else:
            return config
    of_model: dict[str | None, Prices] = {}
    for name, price in found.items():
        if of_model.setdefault(models.get(name), price) != price:
            raise ConfigError(
                f"model {models.get(name)!r} has several prices under [[generator.members]]; give it one"
            )
    own = tuple(dataclasses.replace(member, prices=found[member.name]) for member in generator.members)
    dearest = _dearest([found[m.name] for m in generator.members if m.kind != EMBEDDED])
    config = dataclasses.replace(
        config, generator=dataclasses.replace(generator, members=own), prices=dearest
    )
    return priced(config, None, table)


def _dearest(prices: Sequence[Prices]) -> Prices:
    """Of each kind the highest price; an hour costs what all of them cost."""
    if not prices:
        return Prices()
    currencies = sorted({each.currency for each in prices})
    if len(currencies) > 1:
        raise ConfigError(
            f"the models of this run have prices in {', '.join(currencies)}; give them in one currency"
        )
    by_token = [each for each in prices if each.prompt is not None]
    cached = [each.prompt if each.cached is None else each.cached for each in by_token]
    hours = [each.hour for each in prices if each.hour is not None]
    return Prices(
        prompt=max((each.prompt or 0.0 for each in by_token), default=None),
        completion=max((each.completion or 0.0 for each in by_token), default=None),
        cached=max((price or 0.0 for price in cached), default=None),
        hour=sum(hours) if hours else None,
        currency=currencies[0],
        source="the dearest of several models",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """What a token costs at each model of a mixture.

    Args:
        otherwise: Of models that are not among them.
        by_model: By the name of the model.
    """

    otherwise: Prices
    by_model: Mapping[str | None, Prices]

    @staticmethod
    def of(config: RunConfig, models: Mapping[str, str | None]) -> Tariff | None:
        """That of a run; None where one price holds for all.

        Args:
            config: Its configuration, as stored when it started.
            models: As its members' servers name them.
        """
        by_model = {
            models.get(member.name): member.prices
            for member in config.generator.members
            if member.prices is not None
        }
        return Tariff(otherwise=config.prices, by_model=by_model) if by_model else None

    def price(self, model: str | None) -> Prices:
        """Of a model, by its name."""
        return self.by_model.get(model, self.otherwise)

    def cost(self, usages: Mapping[ModelIdentity, TokenUsage]) -> float:
        """Money for what the models of a run took."""
        return sum(
            self.price(identity.model).with_cache(
                Tokens(prompt=usage.prompt or 0, completion=usage.completion or 0), usage.cached or 0
            )
            for identity, usage in usages.items()
        )


def _unpriced(prices: Prices, model: str | None, table: PriceTable) -> str:
    own = "under [prices] of the configuration file"
    if prices.is_known:
        return f"but all prices are 0, so it is never reached; leave it out, or give prices {own}"
    if model is None:
        return (
            "but the embedded mutations cost nothing, so it is never reached; leave it out, or give the price of "
            f"an hour of this machine (hour) {own}"
        )
    where = f"{table.path}" if table.path else "a file given with --prices"
    return (
        f"but no price is known for model {model!r}; add it to {where} (`discovery prices init` makes one to start "
        f"from), or give prompt and completion, or hour, {own}"
    )


def _entries(data: Mapping[str, Any]) -> tuple[Entry, ...]:
    common = {name: data[name] for name in COMMON if name in data and not isinstance(data[name], Mapping)}
    entries = []
    for name, value in data.items():
        if name in common:
            continue
        if not isinstance(value, Mapping):
            raise ConfigError(
                f"{name} is {value!r}; at the top stand {', '.join(COMMON)} and tables headed by a model's name, "
                f'such as ["{name}"]'
            )
        settings = {key: _text(part) for key, part in {**common, **value}.items()}
        prices = from_dict(Prices, settings, f"{name}.")
        if not prices.is_known:
            raise ConfigError(f"{name} has no price; give prompt and completion, or hour")
        entries.append(Entry(pattern=name, prices=prices))
    return tuple(entries)


def _text(value: Any) -> Any:
    """Dates of TOML as text; everything else as it is."""
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else value
