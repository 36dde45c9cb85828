import dataclasses
import json
from datetime import UTC, datetime

import pytest

from discovery.errors import WeightsError
from discovery.training import lineage
from discovery.training.config import LoraConfig, TrainConfig
from discovery.training.lineage import ExportSource, Lineage


@pytest.fixture
def made():
    return Lineage(
        base="/models/base",
        base_hash="abc",
        exports=(
            ExportSource(
                id="e1",
                format="trl-sft",
                folder="/exports/e1",
                files={"train.jsonl": "00ff"},
                rows={"train.jsonl": 3},
            ),
        ),
        method="sft",
        config=TrainConfig(lora=LoraConfig(rank=4, targets=("q_proj",)), seed=7),
        versions={"torch": "2.13"},
        metrics={"validation_loss": 0.5, "left_out": {"train.jsonl: too long": 1}},
        created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )


def test_it_comes_back_as_it_was_written_with_all_its_ancestors(made, tmp_path):
    second = dataclasses.replace(made, base="/models/first", base_hash="def", parent=made)
    third = dataclasses.replace(made, base="/models/second", parent=second)
    lineage.write(tmp_path, third)
    found = lineage.read(tmp_path)
    assert found == third
    assert [each.base for each in found.chain()] == ["/models/second", "/models/first", "/models/base"]
    assert found.seed == 7


def test_weights_without_one_and_with_a_broken_one_are_told(made, tmp_path):
    with pytest.raises(WeightsError, match=r"has no lineage\.json"):
        lineage.read(tmp_path)
    lineage.write(tmp_path, made)
    path = tmp_path / lineage.FILE
    said = json.loads(path.read_text())
    del said["base_hash"]
    path.write_text(json.dumps(said))
    with pytest.raises(WeightsError, match="no readable lineage: KeyError: 'base_hash'"):
        lineage.read(tmp_path)


def test_versions_name_this_package():
    assert "discovery" in lineage.versions()
