"""The torch engine as a process: started, looked after, given new weights and ended as vLLM is."""

import json
import shutil
import signal
import socket
from pathlib import Path

import pytest

from discovery.cli import main
from discovery.generation.probe import Probe
from discovery.storage import open_existing

pytestmark = [pytest.mark.train, pytest.mark.usefixtures("own_place")]
SHAPE = ["--chains", "2", "--steps", "3", "--candidates", "4", "--sandbox", "process", "--scheduler", "local"]


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def engines(home):
    """Processes whose command line names a folder or a port of this test."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes()
        except OSError:
            continue
        if b"discovery.training.engine" in words and str(home).encode() in words:
            found.append(int(place.name))
    return found


@pytest.mark.weekly
def test_a_run_with_a_model_made_here(taught_model, capsys, tmp_path):
    """At each change test_loop.py shows runs on this engine, and test_serve.py a run that starts its server."""
    model = tmp_path / "model"
    shutil.copytree(taught_model, model)
    arguments = ["run", "zigzag-12", "--serve", str(model), "--engine", "torch", *SHAPE, "--json"]
    assert main(arguments) == 0
    told = capsys.readouterr()
    result = json.loads(told.out)
    assert (result["evaluations"], result["status"]) == (24, "finished")
    assert result["best_score"] > result["initial_score"]
    assert "starting the torch engine" in told.err
    storage = open_existing(None)
    try:
        (record,) = storage.list_runs()
        assert record.facts["model"] == "model"
        counts = storage.counts(record.id)
    finally:
        storage.close()
    assert counts.evaluations >= 24
    assert engines(model) == []


def test_it_takes_new_weights_by_a_restart_and_leaves_nothing_at_sigterm(
    serve, taught_model, tmp_path, capsys
):
    from transformers import AutoModelForCausalLM

    model, port = tmp_path / "model", free_port()
    shutil.copytree(taught_model, model)
    ready, process = serve(model, "--engine", "torch", "--port", port)
    assert (ready["engine"], ready["model"], ready["context_tokens"]) == ("torch", "model", 4096)
    assert (ready["takes_adapters"], ready["reasons"]) == (False, False)

    trained = AutoModelForCausalLM.from_pretrained(taught_model)
    trained.lm_head.weight.data += 0.01
    trained.save_pretrained(tmp_path / "trained")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (tmp_path / "trained" / name).write_bytes((taught_model / name).read_bytes())
    assert main(["publish", str(tmp_path / "trained"), "--json"]) == 0
    published = json.loads(capsys.readouterr().out)
    (card,) = Probe(ready["url"]).cards()
    assert card.name == "model"
    assert card.root == published["revision"] != ready["root"]

    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=1):
        pytest.fail("it still listens")
    assert engines(tmp_path) == []
