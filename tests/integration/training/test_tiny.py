"""A small model from nothing: its tokenizer, its weights, what it says."""

import json
import random

import pytest

from discovery.errors import UsageError
from discovery.generation.weights import Kind, read_weights
from discovery.training import lineage
from discovery.training.lessons import FAMILY, family

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch")

from discovery.training.tiny import METHOD, Schooling, make_tiny  # noqa: E402

SHORT = Schooling(repeating=2, lessons=2, examined=8)


@pytest.fixture(scope="module")
def barely_taught(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "deep" / "tiny"
    told = []
    return make_tiny(folder, seed=3, schooling=SHORT, tell=told.append), told


@pytest.fixture(scope="module")
def tokenizer(barely_taught):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(barely_taught[0].folder)


def test_it_is_a_whole_checkpoint_with_its_lineage(barely_taught):
    made, told = barely_taught
    weights = read_weights(made.folder)
    assert weights.kind is Kind.CHECKPOINT
    assert weights.config["architectures"] == ["LlamaForCausalLM"]
    assert weights.config["head_dim"] == 32
    assert 100_000 < made.parameters < 1_000_000
    found = lineage.read(made.folder)
    assert (found.method, found.exports, found.seed, found.config.max_steps) == (METHOD, (), 3, 4)
    assert found.base_hash == lineage.of_base(made.folder)[0]
    assert told
    assert [path.name for path in made.folder.parent.iterdir()] == ["tiny"], "nothing half made stays"


def test_the_same_seed_gives_the_same_weights(barely_taught, tmp_path):
    def stored(folder):
        return (folder / "model.safetensors").read_bytes(), (folder / "tokenizer.json").read_bytes()

    torch.manual_seed(99)
    random.seed(99)
    again = make_tiny(tmp_path / "again", seed=3, schooling=SHORT)
    other = make_tiny(tmp_path / "other", seed=4, schooling=SHORT)
    assert stored(again.folder) == stored(barely_taught[0].folder)
    assert stored(other.folder)[0] != stored(again.folder)[0]


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(UsageError, match="is there already; name a new folder"):
        make_tiny(tmp_path, schooling=SHORT)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_any_text_comes_back_whole(tokenizer):
    for text in ("h[3] = 7\n\n  déjà 数 \x00 1.5e-3", "\n    h[123] = 45", "", "<|user", '{"a": [1, 2.25]}'):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_a_line_that_sets_a_digit_is_one_token_and_prompts_are_short(tokenizer):
    for place in range(24):
        for digit in range(10):
            assert len(tokenizer.encode(f"\n    h[{place}] = {digit}", add_special_tokens=False)) == 1
    rng = random.Random(7)
    for teacher in family():
        lesson = teacher.lesson(rng, 3)
        messages = [{"role": each.role, "content": each.content} for each in lesson.messages]
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
        assert len(prompt) < 200 + 4 * teacher.size
        assert len(tokenizer.encode(lesson.answer, add_special_tokens=False)) < teacher.size + 16


def test_a_quarter_of_the_teaching_gives_valid_programs_of_every_size_that_keep_some_of_a_parent(
    taught_model,
):
    """Taught in full more than nine of ten are valid: `make bench ARGS=loop` measures that."""
    told = json.loads((taught_model / "lineage.json").read_text())["metrics"]
    assert set(told["valid"]) == set(FAMILY)
    assert min(told["valid"].values()) >= 0.25
    assert sum(told["valid"].values()) / len(FAMILY) > 0.5
    assert sum(told["kept"].values()) / len(FAMILY) > 0.2, "which by chance is a tenth"
