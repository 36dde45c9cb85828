"""The closed loop through a real vLLM: measured, trained, served anew with the new weights, measured again."""

import json

import pytest

from discovery.cli import main
from discovery.generation.control import running_servers
from discovery.storage import open_existing

pytestmark = [pytest.mark.vllm, pytest.mark.train, pytest.mark.timeout(600)]

HELD_OUT = """
from discovery import problem

@problem(name="held-out", statement="Ten numbers.", initial='''
# EVOLVE-BLOCK-START
def solve():
    return [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
# EVOLVE-BLOCK-END
''')
def score(program):
    return -sum((float(value) - 1.0) ** 2 for value in program.call("solve"))
"""


@pytest.mark.weekly
def test_weights_are_trained_and_served_again_between_two_measurements(
    vllm_program, tiny_models, tmp_path, monkeypatch, capsys
):
    for name in ("torch", "transformers", "peft", "trl", "datasets"):
        pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISCOVERY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DISCOVERY_STORAGE", str(tmp_path / "runs.db"))
    monkeypatch.setenv("DISCOVERY_VLLM", str(vllm_program))
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    (tmp_path / "held_out.py").write_text(HELD_OUT)
    (tmp_path / "licences.toml").write_text('"tiny" = true\n')
    options = ["--problem", "constants-10", "--held-out", "held_out.py", "--rounds", "1", "--seeds", "1"]
    options += ["--chains", "2", "--steps", "2", "--candidates", "4", "--max-tokens", "200", "--top", "50"]
    options += ["--validation", "0", "--learning-rate", "1e-3", "--licences", "licences.toml"]
    options += ["--sandbox", "process", "--scheduler", "local", "--out", "loop", "--json"]
    code = main(["loop", str(tiny_models / "tiny"), *options])
    told = capsys.readouterr()
    assert code == 0, told.err
    report = json.loads(told.out)
    assert running_servers() == []
    revision = tmp_path / "loop" / "revisions" / "1" / "weights"
    storage = open_existing(str(tmp_path / "runs.db"))
    try:
        spoke = {
            run.facts["loop"]["revision"]: {model.revision for model in storage.speakers(run.id)}
            for run in storage.list_runs()
        }
    finally:
        storage.close()
    assert spoke == {0: {str(tiny_models / "tiny")}, 1: {str(revision)}}
    lineage = json.loads((revision / "lineage.json").read_text())
    assert lineage["base"] == str(tiny_models / "tiny")
    assert [export["id"] for export in lineage["exports"]] == [report["rounds"][0]["exported"]["id"]]
    assert {run for made in report["rounds"] for run in made["exported"]["runs"]} == {
        f"constants-10-{report['id']}-r0-s0"
    }
    for problem in report["problems"]:
        assert [figures["evaluations"] for figures in problem["figures"]] == [[16], [16]]
        assert problem["figures"][1]["change"] is not None
    assert main(["loop", "--resume", "loop", "--json"]) == 0, "it is done, and nothing is done again"
    assert json.loads(capsys.readouterr().out) == report
