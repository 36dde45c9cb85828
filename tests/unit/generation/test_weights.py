"""Folders of weights: every way of not being whole, of not fitting, and names that follow the content."""

import json
import os
import struct

import pytest

from discovery.errors import WeightsError
from discovery.generation.safetensors import read_header
from discovery.generation.weights import (
    Kind,
    discard,
    fingerprint,
    published_copy,
    read_weights,
    require_fit,
)
from discovery.testing.vllm import write_adapter, write_checkpoint, write_tensors


@pytest.fixture
def checkpoint(tmp_path):
    return write_checkpoint(tmp_path / "model")


@pytest.fixture
def adapter(tmp_path, checkpoint):
    return write_adapter(tmp_path / "adapter", checkpoint)


def edit(path, **fields):
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def sharded(folder):
    """Spread a checkpoint over two files with an index."""
    names = list(read_header(folder / "model.safetensors"))
    (folder / "model.safetensors").unlink()
    files = {name: f"model-0000{i}-of-00002.safetensors" for i, name in enumerate(names, 1)}
    for name, file in files.items():
        write_tensors(folder / file, {name: (4, 4)})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    return folder


class TestCheckpoint:
    def test_a_whole_one(self, checkpoint):
        found = read_weights(checkpoint)
        assert (found.kind, found.rank, len(found.tensors)) == (Kind.CHECKPOINT, 0, 2)
        assert found.tensors["lm_head.weight"].shape == (8, 4)

    def test_a_sharded_one(self, checkpoint):
        assert len(read_weights(sharded(checkpoint)).tensors) == 2

    def test_one_in_the_older_format_is_only_looked_for(self, checkpoint):
        (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
        assert read_weights(checkpoint).tensors == {}

    @pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
    def test_each_missing_file_is_named(self, checkpoint, name):
        (checkpoint / name).unlink()
        with pytest.raises(WeightsError, match=f"{name}.*(save|adapter)"):
            read_weights(checkpoint)

    def test_no_folder(self, tmp_path):
        with pytest.raises(WeightsError, match="gone is no folder"):
            read_weights(tmp_path / "gone")

    def test_a_missing_shard(self, checkpoint):
        (sharded(checkpoint) / "model-00002-of-00002.safetensors").unlink()
        with pytest.raises(WeightsError, match=r"model-00002-of-00002\.safetensors is missing.*index"):
            read_weights(checkpoint)

    def test_a_shard_without_a_tensor_of_the_index(self, checkpoint):
        write_tensors(sharded(checkpoint) / "model-00002-of-00002.safetensors", {"other": (1,)})
        with pytest.raises(WeightsError, match=r"00002\.safetensors lacks lm_head\.weight"):
            read_weights(checkpoint)

    @pytest.mark.parametrize("index", ["{}", "[]", "{", '{"weight_map": {}}'])
    def test_an_index_that_is_none(self, checkpoint, index):
        (checkpoint / "model.safetensors.index.json").write_text(index)
        with pytest.raises(WeightsError, match="index"):
            read_weights(checkpoint)

    @pytest.mark.parametrize("config", ["{", "[]", "{}"])
    def test_a_configuration_that_is_none(self, checkpoint, config):
        (checkpoint / "config.json").write_text(config)
        with pytest.raises(WeightsError, match=r"config\.json"):
            read_weights(checkpoint)

    @pytest.mark.parametrize("size", [0, 4, 20, 200, -1, +1])
    def test_a_file_that_was_cut_off_or_grew(self, checkpoint, size):
        path = checkpoint / "model.safetensors"
        whole = path.stat().st_size
        os.truncate(path, whole + size if abs(size) == 1 else size)
        with pytest.raises(WeightsError, match=r"model\.safetensors is not whole: .*; copy or save it again"):
            read_weights(checkpoint)

    @pytest.mark.parametrize(
        "header",
        [
            "[]",
            '{"a": 1}',
            '{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0]}}',
            '{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
            '{"a": {"dtype": "F32", "shape": ["x"], "data_offsets": [0, 4]}}',
            "no json",
        ],
    )
    def test_a_header_that_is_none(self, checkpoint, header):
        (checkpoint / "model.safetensors").write_bytes(
            struct.pack("<Q", len(header)) + header.encode() + bytes(4)
        )
        with pytest.raises(WeightsError, match=r"model\.safetensors is not whole"):
            read_weights(checkpoint)


class TestAdapter:
    def test_a_whole_one(self, adapter):
        found = read_weights(adapter)
        assert (found.kind, found.rank) == (Kind.ADAPTER, 2)

    def test_its_largest_rank_counts(self, adapter):
        edit(adapter / "adapter_config.json", rank_pattern={"q_proj": 64})
        assert read_weights(adapter).rank == 64

    @pytest.mark.parametrize(
        "fields",
        [
            {"peft_type": "PROMPT_TUNING"},
            {"r": 0},
            {"r": None},
            {"bias": "all"},
            {"modules_to_save": ["lm_head"]},
            {"use_dora": True},
        ],
    )
    def test_what_vllm_does_not_serve_is_refused(self, adapter, fields):
        edit(adapter / "adapter_config.json", **fields)
        with pytest.raises(WeightsError, match=r"adapter_config\.json"):
            read_weights(adapter)

    def test_without_its_tensors(self, adapter):
        (adapter / "adapter_model.safetensors").unlink()
        with pytest.raises(WeightsError, match=r"adapter_model\.safetensors"):
            read_weights(adapter)

    @pytest.mark.parametrize("tensors", [{}, {"base_model.model.lm_head.weight": (8, 4)}])
    def test_with_other_tensors(self, adapter, tensors):
        write_tensors(adapter / "adapter_model.safetensors", tensors)
        with pytest.raises(WeightsError, match=r"adapter_model\.safetensors holds"):
            read_weights(adapter)


class TestFit:
    def test_an_adapter_of_what_is_served(self, adapter, checkpoint):
        require_fit(read_weights(adapter), read_weights(checkpoint), largest_rank=2)

    @pytest.mark.parametrize(("rank", "fix"), [(None, "--lora"), (1, "--max-lora-rank 2")])
    def test_a_server_without_room_for_it(self, adapter, checkpoint, rank, fix):
        with pytest.raises(WeightsError, match=fix):
            require_fit(read_weights(adapter), read_weights(checkpoint), largest_rank=rank)

    def test_an_adapter_of_another_shape(self, tmp_path, checkpoint):
        other = write_adapter(tmp_path / "wide", hidden=8)
        with pytest.raises(WeightsError, match=r"q_proj.*trained for another model"):
            require_fit(read_weights(other), read_weights(checkpoint), largest_rank=8)

    def test_an_adapter_of_other_weights_of_the_same_shape(self, tmp_path, checkpoint):
        other = write_checkpoint(tmp_path / "other", fill=1)
        trained = write_adapter(tmp_path / "b", other)
        with pytest.raises(WeightsError, match=r"was trained on .*other"):
            require_fit(read_weights(trained), read_weights(checkpoint), largest_rank=8)

    def test_an_adapter_whose_base_lies_elsewhere_now(self, tmp_path, checkpoint):
        copy = write_checkpoint(tmp_path / "copy")
        require_fit(
            read_weights(write_adapter(tmp_path / "b", copy)), read_weights(checkpoint), largest_rank=8
        )

    def test_nothing_to_compare_with(self, adapter, checkpoint):
        require_fit(read_weights(adapter), None, largest_rank=2)
        require_fit(read_weights(checkpoint), None, largest_rank=None)

    def test_a_checkpoint_of_another_size(self, tmp_path, checkpoint):
        other = write_checkpoint(tmp_path / "wide", hidden=8)
        with pytest.raises(WeightsError, match=r"hidden_size 8.*4"):
            require_fit(read_weights(other), read_weights(checkpoint), largest_rank=None)

    def test_a_checkpoint_that_lacks_a_tensor(self, tmp_path, checkpoint):
        other = write_checkpoint(tmp_path / "part")
        write_tensors(other / "model.safetensors", {"lm_head.weight": (8, 4)})
        with pytest.raises(WeightsError, match=r"lacks model\.layers\.0\.q_proj"):
            require_fit(read_weights(other), read_weights(checkpoint), largest_rank=None)

    def test_a_checkpoint_with_a_tensor_of_another_shape(self, tmp_path, checkpoint):
        other = write_checkpoint(tmp_path / "odd")
        shapes = {"model.layers.0.q_proj.weight": (4, 2), "lm_head.weight": (8, 4)}
        write_tensors(other / "model.safetensors", shapes)
        with pytest.raises(WeightsError, match=r"q_proj\.weight has shape"):
            require_fit(read_weights(other), read_weights(checkpoint), largest_rank=None)


class TestCopies:
    def test_its_name_follows_its_content(self, tmp_path, checkpoint):
        shelf = tmp_path / "shelf"
        first = published_copy(read_weights(checkpoint), shelf)
        assert published_copy(read_weights(checkpoint), shelf).folder == first.folder
        write_checkpoint(checkpoint, fill=1)
        second = published_copy(read_weights(checkpoint), shelf)
        assert second.folder != first.folder
        assert {place.folder.name[:6] for place in (first, second)} == {"model-"}
        assert len(list(shelf.iterdir())) == 2

    def test_writing_over_the_original_does_not_change_it(self, tmp_path, checkpoint):
        copy = published_copy(read_weights(checkpoint), tmp_path / "shelf")
        with (checkpoint / "model.safetensors").open("r+b") as file:
            file.seek(-4, os.SEEK_END)
            file.write(b"\xff" * 4)
        assert (copy.folder / "model.safetensors").read_bytes()[-4:] == bytes(4)
        assert not any(path.stat().st_mode & 0o222 for path in copy.folder.iterdir())

    def test_what_only_training_needs_is_left_out(self, tmp_path, checkpoint):
        for name in ("optimizer.pt", "trainer_state.json", "rng_state_0.pth"):
            (checkpoint / name).write_bytes(b"x")
        copy = published_copy(read_weights(checkpoint), tmp_path / "shelf")
        assert {path.name for path in copy.folder.iterdir()} == {
            "config.json",
            "tokenizer.json",
            "model.safetensors",
        }

    def test_a_name_that_is_none_for_a_url(self, tmp_path, checkpoint):
        odd = checkpoint.rename(tmp_path / "né w/..model".replace("/", ""))
        copy = published_copy(read_weights(odd), tmp_path / "shelf")
        assert copy.folder.name.isascii()
        assert " " not in copy.folder.name

    def test_a_shelf_that_cannot_be_made(self, tmp_path, checkpoint):
        (tmp_path / "shelf").write_text("")
        with pytest.raises(WeightsError, match=r"cannot be copied.*DISCOVERY_HOME"):
            published_copy(read_weights(checkpoint), tmp_path / "shelf")

    def test_one_that_changes_meanwhile_leaves_nothing(self, tmp_path, checkpoint):
        before = read_weights(checkpoint)
        edit(checkpoint / "config.json", says="changed")
        with pytest.raises(WeightsError, match="changed while"):
            published_copy(before, tmp_path / "shelf")
        assert list((tmp_path / "shelf").iterdir()) == []

    def test_it_can_be_removed(self, tmp_path, checkpoint):
        copy = published_copy(read_weights(checkpoint), tmp_path / "shelf")
        discard(copy.folder)
        assert list((tmp_path / "shelf").iterdir()) == []


def test_a_fingerprint_is_of_the_weights_not_of_their_files(tmp_path, checkpoint):
    shapes = {"model.layers.0.q_proj.weight": (4, 4), "lm_head.weight": (8, 4)}
    split = write_checkpoint(tmp_path / "split")
    (split / "model.safetensors").unlink()
    for number, (name, shape) in enumerate(shapes.items()):
        write_tensors(split / f"{number}.safetensors", {name: shape})
    assert fingerprint(read_weights(split)) == fingerprint(read_weights(checkpoint))
    write_tensors(split / "0.safetensors", {"model.layers.0.q_proj.weight": (4, 4)}, fill=1)
    assert fingerprint(read_weights(split)) != fingerprint(read_weights(checkpoint))
