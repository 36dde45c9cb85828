"""The user's table of licences by model: whether what a model wrote may be trained on.

A small TOML file: each line or table in it is headed by a model's name, in which shell patterns may stand, and the
first that fits is taken. What a model's terms allow, only the user can answer for. The few entries that come with this
package are open weights whose licence says it, and hosted models whose terms forbid it; the user's file wins over them.
A model that no entry fits is unknown, and unknown is a no: nothing is exported for training.

A model is known by any of its names: the one that it is served under, its adapter, its folder of weights. Weights that
were trained here are what their base is: the folder says of which base it is made (``lineage.json``, written by
``discovery train``), and a base that was made here from nothing (``discovery model new-tiny``) is the user's own. An
adapter without that is somebody's: what holds for its base says nothing of it.
"""

from __future__ import annotations

import dataclasses
import glob
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from discovery.config import from_dict
from discovery.errors import ConfigError, LicenceError
from discovery.records import ModelIdentity
from discovery.usertable import UserTable

EMBEDDED = "mutation"
"""The generator that is this package's own: no model, so nobody else's words."""

MADE_HERE = "new-tiny"
"""The method that a lineage names of weights that were made here from nothing."""

_LINEAGE = "lineage.json"

TEMPLATE = """\
# Whose words may be trained on. Each entry is headed by a model: its name as its server gives it, the name of an
# adapter, or its folder of weights; shell patterns are allowed (* ? [ab]), and the first entry that fits is taken,
# those of this file before those that come with discovery. `discovery licences MODEL` says which.
#
# A model of your own, or one whose licence you have read, in one line, above all tables:
#
# "my-model" = true
# "/data/weights/*" = true
#
# Or in full; exports show it:
#
# ["acme/imaginary-9b*"]
# provider = "a provider that does not exist"
# licence = "the licence of a model that does not exist"
# trainable = false
# source = "where you read it, and when"
"""

FILE = UserTable(name="licences", environment="DISCOVERY_LICENCES", template=TEMPLATE)
"""Where it lies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """What is known of the right to train on a model's words.

    Args:
        trainable: Whether they may be trained on.
        provider: Who provides the model.
        licence: Its licence or terms.
        source: Where that is written.
    """

    trainable: bool
    provider: str | None = None
    licence: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of the table.

    Args:
        pattern: A model's name, with shell patterns.
        licence: What holds for it.
    """

    pattern: str
    licence: Licence


OWN = Licence(trainable=True, provider="this machine", licence="your own", source="made by discovery")

_OPENAI = Licence(
    trainable=False,
    provider="OpenAI",
    licence="terms of use",
    source="openai.com/policies: output may not be used to develop models that compete with OpenAI",
)
_ANTHROPIC = Licence(
    trainable=False,
    provider="Anthropic",
    licence="terms of service",
    source="anthropic.com/legal: the service may not be used to build or train competing models",
)
_GOOGLE = Licence(
    trainable=False,
    provider="Google",
    licence="Gemini API terms",
    source="ai.google.dev/gemini-api/terms: the service may not be used to develop competing models",
)
_GPT_OSS = Licence(
    trainable=True, provider="OpenAI", licence="Apache-2.0", source="its model card, huggingface.co/openai"
)
_QWEN3 = Licence(
    trainable=True, provider="Alibaba", licence="Apache-2.0", source="its model card, huggingface.co/Qwen"
)
_DEEPSEEK_R1 = Licence(
    trainable=True,
    provider="DeepSeek",
    licence="MIT",
    source="its model card, huggingface.co/deepseek-ai, which names distillation",
)

BUILT_IN: tuple[Entry, ...] = tuple(
    Entry(pattern=pattern, licence=licence)
    for licence, patterns in (
        (OWN, ["mutation-?"]),
        (
            _GPT_OSS,
            [f"{place}gpt-oss-{size}" for size in ("20b", "120b") for place in ("openai/", "", "/*/")],
        ),
        (
            _QWEN3,
            [
                f"{place}Qwen3-{size}"
                for size in ("0.6B", "1.7B", "4B", "8B", "14B", "32B", "30B-A3B", "235B-A22B")
                for place in ("Qwen/", "/*/")
            ],
        ),
        (_DEEPSEEK_R1, ["deepseek-ai/DeepSeek-R1", "deepseek-ai/DeepSeek-R1-0528"]),
        (
            _OPENAI,
            [
                f"{place}{name}"
                for name in ("gpt-3.5*", "gpt-4*", "gpt-5*", "chatgpt-*", "o1*", "o3*", "o4-*")
                for place in ("", "openai/")
            ],
        ),
        (_ANTHROPIC, ["claude-*", "anthropic/*", "anthropic.claude-*", "*.anthropic.claude-*"]),
        (_GOOGLE, ["gemini-*", "google/gemini-*", "models/gemini-*"]),
    )
    for pattern in patterns
)
"""What is known without the user's file. A name that begins with a slash is a folder of weights on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenceTable:
    """Licences by model.

    Args:
        path: Where they were read, or would be; None for nowhere.
        entries: The user's, in the order of the file.
    """

    path: Path | None = None
    entries: tuple[Entry, ...] = ()

    def find(self, model: str | None) -> Licence | None:
        """What holds for a model of that name; None where nothing is known, or there is no model."""
        entry = self.entry((model,) if model is not None else ())
        return entry.licence if entry is not None else None

    def entry(self, names: Sequence[str]) -> Entry | None:
        """The first entry that fits one of a model's names: of the user's, then of those built in."""
        return _first((*self.entries, *BUILT_IN), names)

    def also(self, names: Iterable[str], licence: Licence) -> LicenceTable:
        """The same table with more entries, for models that the user's do not fit.

        For who knows what weights were made of, after the folder that says it is gone.

        Args:
            names: Of models, with shell patterns; see :func:`glob.escape`.
            licence: What holds for them.
        """
        more = tuple(Entry(pattern=name, licence=licence) for name in names)
        return dataclasses.replace(self, entries=(*self.entries, *more))

    def of(self, model: ModelIdentity) -> Licence | None:
        """What holds for a model that spoke.

        The user's entries are asked for all of its names first. Then what its folder of weights says of where it comes
        from, where that is here to be read; then what is built in.

        Args:
            model: As its completions name it.
        """
        names = _names(model)
        if (entry := _first(self.entries, names)) is not None:
            return entry.licence
        if model.generator == EMBEDDED:
            return OWN
        if model.revision is not None:
            for base in _origins(model.revision):
                if base is None:
                    return OWN
                if (entry := self.entry((base,))) is not None:
                    return entry.licence
        entry = _first(BUILT_IN, names)
        return entry.licence if entry is not None else None


def _first(entries: Sequence[Entry], names: Sequence[str]) -> Entry | None:
    return next((e for e in entries if any(fnmatchcase(name, e.pattern) for name in names)), None)


def require_trainable(models: Iterable[ModelIdentity], table: LicenceTable) -> dict[ModelIdentity, Licence]:
    """Refuse to train on the words of models that may not be trained on, or of which nobody says so.

    Args:
        models: Those that spoke.
        table: The user's.

    Returns:
        What holds for each.

    Raises:
        LicenceError: One of them may not, or is unknown; names each, and the line that would say otherwise.
    """
    found: dict[ModelIdentity, Licence] = {}
    refused: dict[str, str] = {}
    for model in models:
        licence = table.of(model)
        if licence is None or not licence.trainable:
            refused.setdefault(*_refusal(model, licence))
        else:
            found[model] = licence
    if refused:
        where = f"{table.path}" if table.path is not None else "a file given with --licences"
        lines = " and ".join(
            f"{json.dumps(glob.escape(name), ensure_ascii=False)} = true" for name in refused
        )
        raise LicenceError(
            f"{'; '.join(refused.values())}. If it may be, say so at the top of {where} (`discovery licences init` "
            f"makes one to start from), in one line for each: {lines}"
        )
    return found


def _refusal(model: ModelIdentity, licence: Licence | None) -> tuple[str, str]:
    """The name of a model to put into the file, and why it is refused."""
    name = _names(model)[0]
    weights = f" (weights {model.revision})" if model.revision is not None else ""
    if licence is None:
        return name, f"nothing says whether what {name!r}{weights} wrote may be trained on"
    terms = ", ".join(part for part in (licence.provider, licence.licence, licence.source) if part)
    return name, f"what {name!r}{weights} wrote may not be trained on{f': {terms}' if terms else ''}"


def load_licences(path: Path | None = None) -> LicenceTable:
    """Read the table; as :meth:`UserTable.load`.

    Raises:
        ConfigError: The file was asked for and is not there, or is no table of licences; names the place.
    """
    chosen, entries = FILE.load(path, _entries)
    return LicenceTable(path=chosen, entries=entries)


def _entries(data: Mapping[str, Any]) -> tuple[Entry, ...]:
    entries = []
    for name, value in data.items():
        settings = {"trainable": value} if isinstance(value, bool) else value
        if not isinstance(settings, Mapping):
            raise ConfigError(
                f'{name} is {value!r}; an entry is "{name}" = true, or a table headed by a model\'s name, such as '
                f'["{name}"]'
            )
        if "trainable" not in settings:
            raise ConfigError(
                f"{name} does not say whether its words may be trained on; add trainable = true or false"
            )
        stray = next(
            (key for key, part in settings.items() if isinstance(part, bool) and key != "trainable"), None
        )
        if stray is not None:
            raise ConfigError(
                f'{name} holds "{stray}" = ...; entries in one line stand above all tables: move it to the top'
            )
        entries.append(Entry(pattern=name, licence=from_dict(Licence, settings, f"{name}.")))
    return tuple(entries)


def _names(model: ModelIdentity) -> tuple[str, ...]:
    """What a model goes by, one name at least."""
    names = [name for name in (model.model, model.adapter, model.revision) if name is not None]
    return tuple(dict.fromkeys(names)) or (model.generator,)


def _origins(revision: str) -> Iterator[str | None]:
    """What a folder of weights was made of, the nearest first, by its lineage; None for: of nothing, here.

    An adapter's own ``adapter_config.json`` names a base, too, but not who made the adapter, nor of what.
    """
    if not Path(revision).is_absolute():  # a revision of somebody's repository
        return
    lineage: Any = _read(Path(revision) / _LINEAGE)
    while isinstance(lineage, Mapping) and isinstance(lineage.get("base"), str):
        if lineage.get("method") == MADE_HERE:
            yield None
            return
        yield lineage["base"]
        lineage = lineage.get("parent")


def _read(path: Path) -> Mapping[str, Any]:
    """A small JSON object; empty where there is none, or it cannot be read: then nothing is known by it."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, Mapping) else {}
