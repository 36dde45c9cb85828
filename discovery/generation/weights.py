"""Folders of weights: whether one holds a whole checkpoint or adapter, whether it fits, and its name by content.

vLLM finds out late, and badly, that weights cannot be loaded: after the old server has stopped, or by a server that
ends. So everything that can be known from the files is checked before: what is missing, what was cut off, what does
not fit the model that is served.

What is published is never the folder itself, but a copy under a name made of its content, to which nobody writes any
more: a server that reads a path twice could serve other weights under the same name, partly from a prefix cache
computed with the old ones. The copy shares blocks with the original where the file system can; it is never a hard
link, which would change when the original is written over.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from discovery.errors import WeightsError
from discovery.generation.safetensors import Tensor, read_header

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER = "adapter_model.safetensors"

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json", "spiece.model")
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_SAME_FORM = ("architectures", "vocab_size", "hidden_size", "num_hidden_layers")
_TRAINING = (
    "optimizer",
    "scheduler",
    "scaler",
    "rng_state",
    "trainer_state",
    "training_args",
    "README",
    "events.out",
)
"""How the names of files begin that belong to a training run, and are not served."""
_REFUSED_FEATURES = (
    "use_dora",
    "lora_bias",
    "alora_invocation_tokens",
    "layer_replication",
    "use_qalora",
    "use_bdlora",
)
"""Fields of an adapter's configuration that vLLM 0.32 refuses when they are set."""
_SAMPLE = 4096
_PIECE = 1 << 24


class Kind(StrEnum):
    """What a folder of weights is."""

    CHECKPOINT = "checkpoint"
    """A whole model."""
    ADAPTER = "adapter"
    """A LoRA adapter for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A folder of weights that was found to be whole.

    Args:
        folder: The folder, absolute.
        kind: What it is.
        config: Its ``config.json`` or ``adapter_config.json``.
        tensors: Its tensors by name; empty where they are not in safetensors files.
    """

    folder: Path
    kind: Kind
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @property
    def rank(self) -> int:
        """An adapter's largest rank; 0 for a checkpoint."""
        if self.kind is Kind.CHECKPOINT:
            return 0
        pattern = self.config.get("rank_pattern") or {}
        return max(int(self.config["r"]), *map(int, pattern.values()), 1)


def read_weights(folder: Path) -> Weights:
    """Look at a folder of weights.

    Args:
        folder: Of a checkpoint or an adapter.

    Raises:
        WeightsError: It is neither, or not whole.
    """
    folder = folder.expanduser().absolute()
    if not folder.is_dir():
        raise WeightsError(f"{folder} is no folder; name the folder of a checkpoint ({CONFIG}) or an adapter")
    if (folder / ADAPTER_CONFIG).is_file():
        return _adapter(folder)
    if (folder / CONFIG).is_file():
        return _checkpoint(folder)
    raise WeightsError(
        f"{folder} holds neither {CONFIG} (a checkpoint) nor {ADAPTER_CONFIG} (an adapter); "
        "save the model with its configuration, as save_pretrained does"
    )


def require_fit(new: Weights, served: Weights | None, *, largest_rank: int | None) -> None:
    """Refuse weights that do not fit what is served.

    Args:
        new: What is to be served.
        served: The model that is served; None where its files are not at hand, and nothing can be compared.
        largest_rank: Largest rank of an adapter that the server takes; None when it takes no adapter.

    Raises:
        WeightsError: They do not fit.
    """
    if new.kind is Kind.ADAPTER:
        if largest_rank is None:
            raise WeightsError(
                f"{new.folder} is an adapter, and the server takes none; start it with --lora, or merge the adapter"
            )
        if new.rank > largest_rank:
            raise WeightsError(
                f"{new.folder} has rank {new.rank}, and the server takes at most {largest_rank}; "
                f"start it with --max-lora-rank {new.rank}"
            )
        if served is not None:
            _require_base(new, served)
        return
    if served is None:
        return
    for field in _SAME_FORM:
        ours, theirs = new.config.get(field), served.config.get(field)
        if ours != theirs:
            raise WeightsError(
                f"{new.folder / CONFIG} says {field} {ours!r}, and {served.folder}, which is served, {theirs!r}; "
                "another model is served under a name of its own: discovery serve"
            )
    if any(one.config.get("quantization_config") for one in (new, served)):
        return  # stored in other tensors than what they stand for
    for name, tensor in served.tensors.items():
        found = new.tensors.get(name)
        if found is None and new.tensors and name != "lm_head.weight":
            raise WeightsError(
                f"{new.folder} lacks {name}, which {served.folder} has; save the whole model, on one process"
            )
        if found is not None and found.shape != tensor.shape:
            raise WeightsError(
                f"{new.folder}: {name} has shape {list(found.shape)}, and {list(tensor.shape)} in {served.folder}"
            )


def fingerprint(weights: Weights) -> str:
    """What equal checkpoints have in common, however they are spread over files: shapes, types, samples of the bytes.

    It is made in a moment where reading a large model takes minutes, and any training changes it.
    """
    found = {}
    for path in weights.folder.glob("*.safetensors"):
        with path.open("rb") as file:
            for name, tensor in read_header(path).items():
                digest = hashlib.blake2b(f"{name} {tensor.dtype} {tensor.shape}".encode(), digest_size=16)
                for place in (tensor.begin, (tensor.begin + tensor.end) // 2):
                    file.seek(place)
                    digest.update(file.read(min(_SAMPLE, tensor.end - place)))
                found[name] = digest.hexdigest()
    return hashlib.blake2b(json.dumps(sorted(found.items())).encode(), digest_size=16).hexdigest()


def published_copy(weights: Weights, shelf: Path) -> Weights:
    """A copy of weights to which nobody writes, under a name made of their content.

    Args:
        weights: What to copy.
        shelf: Folder of such copies; a copy that is there already is used.

    Returns:
        The copy, whole: its folder's name is ``<folder>-<8 hexadecimal digits>``.

    Raises:
        WeightsError: It cannot be made, or the original changed meanwhile.
    """
    fresh = shelf / f".{uuid.uuid4().hex}"
    try:
        fresh.mkdir(parents=True, mode=0o700)
        for path in _served_files(weights.folder):
            _copy(path, fresh / path.name)
        copied = read_weights(fresh)
        if copied.config != weights.config or copied.tensors != weights.tensors:
            raise WeightsError(
                f"{weights.folder} changed while it was copied; publish it when it is complete"
            )
        place = shelf / f"{_plain_name(weights.folder)}-{_content_hash(fresh)}"
        for path in fresh.iterdir():
            path.chmod(0o444)
        with contextlib.suppress(OSError):  # the same content is there already
            fresh.rename(place)
    except OSError as error:
        raise WeightsError(
            f"{weights.folder} cannot be copied to {shelf}: {error.strerror or error}; is there room? "
            "Or name another folder: export DISCOVERY_HOME=/some/folder"
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return read_weights(place)


def discard(copy: Path) -> None:
    """Remove a published copy."""
    shutil.rmtree(copy, ignore_errors=True)


# Reading


def _checkpoint(folder: Path) -> Weights:
    config = _json(folder / CONFIG)
    if not config.get("architectures") and not config.get("model_type"):
        raise WeightsError(f"{folder / CONFIG} names no architecture; is it the configuration of a model?")
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise WeightsError(f"{folder} has no tokenizer ({', '.join(_TOKENIZERS)}); save it beside the model")
    tensors: dict[str, Tensor] = {}
    for shard, names in _shards(folder):
        if shard.suffix != ".safetensors":
            if not shard.is_file() or not shard.stat().st_size:
                raise WeightsError(f"{shard} is missing or empty; copy or save the checkpoint again")
            continue
        found = read_header(shard)
        absent = sorted(names - found.keys())
        if absent:
            raise WeightsError(
                f"{shard} lacks {absent[0]}, which the index says it holds; save the checkpoint again"
            )
        tensors |= found
    return Weights(folder=folder, kind=Kind.CHECKPOINT, config=config, tensors=tensors)


def _shards(folder: Path) -> Iterator[tuple[Path, set[str]]]:
    """Each file of tensors with the names that must be in it."""
    for index in _INDEXES:
        if (folder / index).is_file():
            names: dict[str, set[str]] = {}
            listed = _json(folder / index).get("weight_map")
            if not isinstance(listed, dict) or not listed:
                raise WeightsError(f"{folder / index} has no weight_map; save the checkpoint again")
            for tensor, file in listed.items():
                names.setdefault(str(file), set()).add(str(tensor))
            for file, held in sorted(names.items()):
                if not (folder / file).is_file():
                    raise WeightsError(
                        f"{folder / file} is missing, and {index} names it; copy or save it again"
                    )
                yield folder / file, held
            return
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    files = [path for path in files if not path.name.startswith(_TRAINING)]
    if not files:
        raise WeightsError(
            f"{folder} has {CONFIG} and no weights (model.safetensors); save the model there again"
        )
    for path in files:
        yield path, set()


def _adapter(folder: Path) -> Weights:
    path = folder / ADAPTER_CONFIG
    config = _json(path)
    if config.get("peft_type", "LORA") != "LORA":
        raise WeightsError(f"{path} says peft_type {config['peft_type']!r}; vLLM serves LORA only")
    rank = config.get("r")
    if not isinstance(rank, int) or rank < 1 or "lora_alpha" not in config:
        raise WeightsError(f"{path} lacks a positive rank `r` or `lora_alpha`; save the adapter again")
    if config.get("bias", "none") != "none" or config.get("modules_to_save"):
        raise WeightsError(
            f"{path} trains biases or whole modules, which vLLM does not serve; merge the adapter"
        )
    for feature in _REFUSED_FEATURES:
        if config.get(feature):
            raise WeightsError(
                f"{path} sets {feature}, which vLLM does not serve; merge the adapter into its model"
            )
    tensors = read_header(folder / ADAPTER)
    if not tensors:
        raise WeightsError(f"{folder / ADAPTER} holds no tensor; save the adapter again")
    odd = [
        name for name in tensors if not re.search(r"\.lora_(A|B|embedding_A|embedding_B)(\.weight)?$", name)
    ]
    if odd:
        raise WeightsError(
            f"{folder / ADAPTER} holds {odd[0]}, which is no part of a LoRA adapter; merge it instead"
        )
    return Weights(folder=folder, kind=Kind.ADAPTER, config=config, tensors=tensors)


def _require_base(adapter: Weights, served: Weights) -> None:
    """Refuse an adapter whose base is another model than the one that is served."""
    for name, tensor in adapter.tensors.items():
        module, part = name.removeprefix("base_model.model.").rsplit(".lora_", 1)
        base = served.tensors.get(f"{module}.weight")
        if base is None or len(base.shape) != 2 or part.startswith("embedding") or "experts" in module:
            continue
        side = 1 if part.startswith("A") else 0  # A is [rank, in], B is [out, rank]
        if len(tensor.shape) != 2 or tensor.shape[side] != base.shape[side]:
            raise WeightsError(
                f"{adapter.folder}: {name} has shape {list(tensor.shape)}, and {module} of {served.folder}, which is "
                f"served, {list(base.shape)}; it was trained for another model"
            )
    named = adapter.config.get("base_model_name_or_path")
    if not named or not (Path(named) / CONFIG).is_file():
        return
    if fingerprint(read_weights(Path(named))) != fingerprint(served):
        raise WeightsError(
            f"{adapter.folder} was trained on {named}, whose weights are not those of {served.folder}, "
            "which is served; serve that model, or train the adapter on this one"
        )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} is no readable JSON file: {error}; save it again") from error
    if not isinstance(found, dict):
        raise WeightsError(f"{path} holds no JSON object; save it again")
    return found


# Copying and naming


def _served_files(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.iterdir() if path.is_file() and not path.name.startswith((".", *_TRAINING))
    )


def _copy(source: Path, target: Path) -> None:
    """Copy a file, sharing its blocks where the file system can."""
    with source.open("rb") as reading, target.open("xb") as writing:
        left = os.fstat(reading.fileno()).st_size
        with contextlib.suppress(OSError):  # between file systems, or none that can
            while left > 0 and (moved := os.copy_file_range(reading.fileno(), writing.fileno(), left)):
                left -= moved
        if left > 0:
            reading.seek(0)
            writing.seek(0)
            shutil.copyfileobj(reading, writing, _PIECE)


def _content_hash(folder: Path) -> str:
    digest = hashlib.blake2b(digest_size=4)
    for path in sorted(folder.iterdir()):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    return digest.hexdigest()


def _plain_name(folder: Path) -> str:
    """A folder's name in characters that every URL, file system and label takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip(".-")[:80] or "weights"
