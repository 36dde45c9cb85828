"""The model that is trained: found, loaded, given adapters, and saved as a folder that can be served."""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discovery.errors import MissingComponent, UsageError, boundary
from discovery.generation.weights import ADAPTER_CONFIG, CONFIG, Kind, Weights, read_weights, require_fit
from discovery.training.config import LoraConfig, TrainConfig
from discovery.training.packed import is_packed, load_packed
from discovery.training.place import WEIGHTS

_LIBRARIES = ("torch", "transformers", "trl", "peft", "datasets")
_NO_MODEL = "{} names no base model; merge the adapter into its model first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What a training starts from.

    Args:
        name: As the user named it.
        folder: Where its weights are: of a checkpoint, or of an adapter that is trained on.
        model: The whole model: the same, or the one below the adapter.
    """

    name: str
    folder: Path
    model: Weights

    @property
    def is_adapter(self) -> bool:
        """Whether an adapter is trained on."""
        return self.folder != self.model.folder


def require_libraries() -> None:
    """Refuse to go on without the libraries that train.

    Raises:
        MissingComponent: One is not installed.
    """
    for name in _LIBRARIES:
        if importlib.util.find_spec(name) is None:
            raise MissingComponent(f"training needs {name}: pip install 'discovery-loop[train]'")


def find_base(name: str) -> Base:
    """The model of that name: a folder, or one of the Hugging Face Hub, which is fetched.

    Raises:
        WeightsError: It is no folder of weights, or not whole.
        UsageError: It is no folder, and cannot be fetched.
    """
    folder = Path(name).expanduser().absolute()
    if not folder.is_dir():
        folder = _fetched(name)
    if (folder / WEIGHTS).is_dir() and not (folder / CONFIG).is_file():
        raise UsageError(
            f"{name} is the folder of a training; name its result: --model {Path(name) / WEIGHTS}"
        )
    weights = read_weights(folder)
    if weights.kind is Kind.CHECKPOINT:
        return Base(name=name, folder=folder, model=weights)
    below = str(weights.config.get("base_model_name_or_path") or "")
    if not below:
        raise UsageError(_NO_MODEL.format(folder / ADAPTER_CONFIG))
    model = find_base(below).model
    require_fit(weights, model, largest_rank=weights.rank)
    return Base(name=name, folder=folder, model=model)


def config_of(name: str) -> Mapping[str, Any]:
    """The config.json of a model of that name, or of the one below an adapter; its weights need not be there.

    Raises:
        UsageError: There is none.
    """
    folder = Path(name).expanduser().absolute()
    if (folder / ADAPTER_CONFIG).is_file():
        below = _json(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
        if not below:
            raise UsageError(_NO_MODEL.format(folder / ADAPTER_CONFIG))
        return config_of(str(below))
    return _json(folder / CONFIG if folder.is_dir() else _fetched(name, CONFIG))


def _json(path: Path) -> Mapping[str, Any]:
    with boundary(f"reading {path}", UsageError):
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _fetched(name: str, file: str | None = None) -> Path:
    """A model of the Hub, or one file of it, fetched where it was not before."""
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise UsageError(
            f"{name} is no folder; name that of a model ({CONFIG}), or one of the Hub: OWNER/NAME"
        )
    require_libraries()
    from huggingface_hub import hf_hub_download, snapshot_download  # comes with transformers

    with boundary(f"fetching {name} from the Hugging Face Hub", UsageError):
        return Path(snapshot_download(name) if file is None else hf_hub_download(name, file))


def one_device() -> None:
    """Train on one GPU, the first of those that this process may see; before torch is imported."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = "0" if seen is None else seen.split(",")[0]


def quiet() -> None:
    """Let the libraries speak up for errors only; what happens is told by :mod:`discovery.training.watch`.

    peft 0.21 and TRL 1.16 use names that transformers 6 will not have; this package asks for an older one.
    """
    from transformers.utils import logging as of_transformers

    logging.getLogger("trl").setLevel(logging.ERROR)
    warnings.filterwarnings(
        "ignore", r"`\w*gradient_checkpointing\w*` is deprecated and will be removed in v6", FutureWarning
    )
    of_transformers.set_verbosity_error()
    of_transformers.disable_progress_bar()


def on_gpu() -> bool:
    """Whether there is a GPU to train on."""
    import torch

    return bool(torch.cuda.is_available())


def gpu_memory() -> int | None:
    """Bytes of the GPU that is trained on; None where there is none."""
    import torch

    return int(torch.cuda.get_device_properties(0).total_memory) if torch.cuda.is_available() else None


def computes_in_bfloat16(config: TrainConfig) -> bool:
    """Whether tensors that come and go are bfloat16."""
    return config.dtype == "bfloat16" or (config.dtype == "auto" and on_gpu())


def words_of(model: Weights) -> str:
    """A hash of what makes a model's tokens out of messages: its tokenizer and its chat template."""
    found = hashlib.sha256()
    for path in sorted(model.folder.glob("*")):
        if path.is_file() and (
            path.name.startswith(("tokenizer", "vocab", "merges")) or path.suffix == ".jinja"
        ):
            found.update(f"{path.name} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def load_tokenizer(base: Base) -> Any:
    """The base's tokenizer, with something to pad with."""
    from transformers import AutoTokenizer

    with boundary(f"loading the tokenizer of {base.model.folder}", UsageError):
        tokenizer = AutoTokenizer.from_pretrained(base.model.folder, local_files_only=True)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(base: Base, config: TrainConfig) -> Any:
    """The base as training begins with it; new adapters are added by :func:`with_adapters`, or by TRL.

    Raises:
        UsageError: It cannot be loaded, or an adapter is to be trained with other settings than its own.
    """
    _require_same_adapter(base, config.lora)
    model = load_plain(base, config)
    if base.is_adapter:
        from peft import PeftModel

        with boundary(f"loading the adapter {base.name}", UsageError):
            model = PeftModel.from_pretrained(model, str(base.folder), is_trainable=True)
    return model


def new_adapters(base: Base, config: TrainConfig) -> Any:
    """The adapters to add to a base, as peft wants them told; None where there are none to add."""
    return lora_config(config.lora) if config.lora.rank and not base.is_adapter else None


def with_adapters(model: Any, base: Base, config: TrainConfig) -> Any:
    """A model with its new adapters, where it is to have some.

    Raises:
        UsageError: It has no such layers.
    """
    from transformers import set_seed

    adapters = new_adapters(base, config)
    if adapters is not None:
        from peft import get_peft_model

        set_seed(config.seed)  # they begin at random
        with boundary(f"giving {base.name} adapters", UsageError):
            model = get_peft_model(model, adapters)
    if config.checkpoint_activations and config.lora.rank:
        model.enable_input_require_grads()
    return model


def load_plain(base: Base, config: TrainConfig) -> Any:
    """The whole model without adapters, on the CPU: in float32, or in the type of computing under adapters."""
    import torch
    from transformers import AutoModelForCausalLM

    options = load_options(base, config)
    with boundary(f"loading {base.model.folder}", UsageError):
        if config.packed:
            device = torch.device("cuda" if on_gpu() else "cpu")
            model = load_packed(base.model, device=device, **options)
        else:
            model = AutoModelForCausalLM.from_pretrained(base.model.folder, local_files_only=True, **options)
    model.config.use_cache = False
    if config.lora.rank == 0:
        model = model.to(torch.float32)
    return model


def load_options(base: Base, config: TrainConfig) -> Mapping[str, Any]:
    """How transformers is to load the base."""
    import torch

    small = config.lora.rank and computes_in_bfloat16(config)
    options: dict[str, Any] = {"dtype": torch.bfloat16 if small else torch.float32}
    if config.attention != "auto":
        options["attn_implementation"] = config.attention
    if config.packed:
        return options
    quantized = base.model.config.get("quantization_config") or {}
    if is_packed(base.model):
        if config.lora.rank == 0:
            raise UsageError(
                f"{base.model.folder} has its experts packed as MXFP4, and nothing here packs trained ones again; "
                "train adapters: --rank 32"
            )
        from transformers import Mxfp4Config

        options["quantization_config"] = Mxfp4Config(dequantize=True)
    elif quantized:
        raise UsageError(
            f"{base.model.folder} is quantized ({quantized.get('quant_method')}); train the model it was made of"
        )
    return options


def lora_config(lora: LoraConfig) -> Any:
    """Adapters as peft wants them told."""
    from peft import LoraConfig as PeftLoraConfig

    return PeftLoraConfig(
        r=lora.rank,
        lora_alpha=2 * lora.rank if lora.alpha is None else lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets) or "all-linear",
        bias="none",
        task_type="CAUSAL_LM",
    )


def _require_same_adapter(base: Base, lora: LoraConfig) -> None:
    """Refuse settings that an adapter which is trained on would not follow, and its lineage would tell all the same."""
    if not base.is_adapter:
        return
    rank = read_weights(base.folder).rank
    if lora.rank != rank:
        raise UsageError(
            f"{base.name} is an adapter of rank {rank}, and rank {lora.rank} is asked for; train it on with "
            f"--rank {rank}, or merge it into its model first"
        )
    said = read_weights(base.folder).config
    alpha, dropout, targets = said.get("lora_alpha"), said.get("lora_dropout"), said.get("target_modules")
    layers = (
        {str(name).rpartition(".")[2] for name in targets} if isinstance(targets, list) else {str(targets)}
    )
    if lora.alpha is not None and lora.alpha != alpha:
        raise UsageError(
            f"{base.name} is an adapter of alpha {alpha}, and alpha {lora.alpha} is asked for; leave --alpha out"
        )
    if lora.dropout != (dropout or 0.0):
        raise UsageError(
            f"{base.name} is an adapter with dropout {dropout}, and {lora.dropout} is asked for; write "
            f"dropout = {dropout} under [lora] in a file, and name it: --config FILE.toml"
        )
    if lora.targets and set(lora.targets) != layers:
        raise UsageError(
            f"{base.name} is an adapter on {', '.join(sorted(layers))}, and {', '.join(lora.targets)} are asked for; "
            "leave targets out"
        )


def save(model: Any, tokenizer: Any, folder: Path, base: Base) -> None:
    """Write weights as they are served: a checkpoint with its tokenizer, or an adapter.

    Args:
        model: As it was trained.
        tokenizer: Its tokenizer.
        folder: Where to; made.
        base: What it started from; names an adapter's model.
    """
    if hasattr(model, "get_base_model"):
        model.peft_config["default"].base_model_name_or_path = str(base.model.folder)
        model.save_pretrained(folder, selected_adapters=["default"], save_embedding_layers=False)
    else:
        _save_whole(model, folder, base)
    tokenizer.save_pretrained(folder)
    (folder / "README.md").unlink(
        missing_ok=True
    )  # peft's empty form; what there is to say is in lineage.json
    read_weights(folder)


def _save_whole(model: Any, folder: Path, base: Base) -> None:
    """Write all weights in the type that the base has them in: what is trained is float32, which nobody serves."""
    import torch

    name = str(base.model.config.get("dtype") or base.model.config.get("torch_dtype") or "float32")
    dtype = getattr(torch, name)
    whole = model.state_dict()
    cast = {tensor.data_ptr(): tensor.to(dtype) for tensor in whole.values()}  # tied ones stay one
    model.save_pretrained(folder, state_dict={key: cast[tensor.data_ptr()] for key, tensor in whole.items()})
    config = copy.deepcopy(model.config)
    config.dtype = dtype
    config.use_cache = base.model.config.get("use_cache", True)  # off for training only
    config.save_pretrained(folder)
