"""The folder of an export."""

import hashlib
import json
import os
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from discovery.errors import DataError, UsageError
from discovery.licences import Licence
from discovery.plugins import load_problem, share_dir
from discovery.records import ModelIdentity
from discovery.testing.samples import Said, outline, sample, selection_of
from discovery.testing.storage_records import WEIRD, make_run
from discovery.training.exports import FORMAT_OF, read_exports
from discovery.trajectories.export import (
    NOT_UNICODE,
    Facts,
    RunFact,
    read_manifest,
    require_place,
    write_export,
)
from discovery.trajectories.formats.base import Options, Reasoning
from discovery.trajectories.manifest import Refutation
from discovery.trajectories.records import Filter, Keep, Split

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def steps(*texts, split=Split.TRAIN, chain=0):
    where = outline(chain=chain)
    return [
        sample([Said(text=text, score=1.0)], trajectory=where, step=number, split=split)
        for number, text in enumerate(texts, 1)
    ]


def export(folder, samples, name="trl-sft", chosen=None, **facts):
    return write_export(folder, name, selection_of(samples, chosen), samples, facts=Facts(**facts))


def read(path):
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_rows_go_to_the_file_of_their_split_and_the_manifest_says_what_is_there(tmp_path):
    samples = steps("one", "two") + steps("three", split=Split.VALIDATION, chain=1)
    facts = {
        "runs": (
            RunFact(run="run-0", problem="packing", problem_version="b" * 64, loads="p"),
            RunFact(run="run-1", problem="packing", problem_version="a" * 64, loads="p"),
        ),
        "licences": {
            ModelIdentity(generator="openai", model="m", revision="r1"): Licence(
                provider="acme", licence="Apache-2.0", trainable=True
            )
        },
        "refuted": (Refutation(run="run-1", chain=7, problem="packing", reason="it | \x1b[2J lied"),),
        "left_out": {"licence": 3},
        "created_at": NOON,
    }
    made = export(tmp_path / "out", samples, **facts)
    assert [row["completion"][0]["content"] for row in read(tmp_path / "out" / "train.jsonl")] == [
        "one",
        "two",
    ]
    assert [row["origin"] for row in read(tmp_path / "out" / "validation.jsonl")] == [samples[2].origin]
    assert made == read_manifest(tmp_path / "out", verify=True)
    assert {name: fact.rows for name, fact in made.files.items()} == {"train.jsonl": 2, "validation.jsonl": 1}
    for name, fact in made.files.items():
        data = (tmp_path / "out" / name).read_bytes()
        assert (fact.sha256, fact.bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    assert [(r.run, r.trajectories, r.steps, r.rows) for r in made.runs] == [
        ("run-0", 0, 0, 0),
        ("run-1", 2, 3, 3),
    ]
    (model,) = made.models
    assert (model.model, model.revision, model.answers) == ("m", "r1", 3)
    assert (model.provider, model.licence, model.trainable) == ("acme", "Apache-2.0", True)
    assert made.left_out == {"licence": 3}
    assert made.refuted == facts["refuted"]
    assert (made.created_at, made.rows(Split.TRAIN), made.rows(Split.VALIDATION)) == (NOON, 2, 1)
    card = (tmp_path / "out" / "README.md").read_text()
    for said in (
        "run-0",
        "run-1",
        "r1",
        "acme",
        "Apache-2.0",
        "it \\| \ufffd\\[2J lied",
        "licence",
        "validation.jsonl",
    ):
        assert said in card


def test_origins_stand_beside_rows_that_cannot_say_them(tmp_path):
    samples = steps("one", "two") + steps("three", split=Split.VALIDATION, chain=1)
    made = export(tmp_path / "out", samples, name="openai-sft")
    assert list(read(tmp_path / "out" / "train.jsonl")[0]) == ["messages"]
    assert read(tmp_path / "out" / "origin.jsonl") == [
        {"split": "train", "row": 0, **samples[0].origin},
        {"split": "train", "row": 1, **samples[1].origin},
        {"split": "validation", "row": 0, **samples[2].origin},
    ]
    assert list(made.files) == ["origin.jsonl", "train.jsonl", "validation.jsonl"]
    assert made.files["origin.jsonl"].rows == 3


def test_what_a_format_brings_along_is_hashed_too(tmp_path):
    made = export(tmp_path / "out", steps("one"), name="llamafactory")
    assert made.files["dataset_info.json"].rows is None
    (tmp_path / "out" / "dataset_info.json").write_text("{}")
    with pytest.raises(UsageError, match=r"dataset_info\.json is not what was exported"):
        read_manifest(tmp_path / "out", verify=True)


def test_the_same_twice_is_the_same_bytes_and_the_same_id(tmp_path):
    samples = steps("one", "two")
    first, second = (export(tmp_path / name, samples, created_at=NOON) for name in ("a", "b"))
    assert first == second
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    later = export(tmp_path / "c", samples, created_at=NOON.replace(year=2027))
    assert later.id == first.id


@pytest.mark.parametrize(
    "change",
    [
        {"samples": steps("one", "2")},
        {"name": "trl-messages"},
        {"chosen": Filter(keep=Keep.ALL)},
        {"options": Options(reasoning=Reasoning.OMIT)},
    ],
)
def test_another_content_format_filter_or_option_is_another_id(tmp_path, change):
    samples = change.pop("samples", steps("one", "two"))
    assert export(tmp_path / "a", steps("one", "two")).id != export(tmp_path / "b", samples, **change).id


def test_the_same_export_again_rewrites_nothing(tmp_path):
    first = export(tmp_path / "out", steps("one"), created_at=NOON)
    stamp = (tmp_path / "out" / "train.jsonl").stat().st_ino, contents(tmp_path / "out")
    again = export(tmp_path / "out", steps("one"))
    assert again == first
    assert stamp == ((tmp_path / "out" / "train.jsonl").stat().st_ino, contents(tmp_path / "out"))
    assert names(tmp_path) == ["out"]


def test_another_export_is_not_written_over(tmp_path):
    export(tmp_path / "out", steps("one"))
    before = contents(tmp_path / "out")
    with pytest.raises(
        UsageError, match=r"holds export \w{16} \(trl-sft\), and this is .* give another folder"
    ):
        export(tmp_path / "out", steps("two"))
    assert contents(tmp_path / "out") == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("dear diary")
    with pytest.raises(UsageError, match="is not empty, and no export"):
        export(tmp_path / "mine", steps("one"))
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "manifest.json").write_text('{"format": "parquet", "schema": 1}')
    with pytest.raises(UsageError, match=r"is no manifest of an export \(it has no 'options'"):
        require_place(tmp_path / "archive")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        export(tmp_path / "file", steps("one"))
    assert names(tmp_path) == ["archive", "file", "mine", "out"]


def test_an_empty_folder_is_used(tmp_path):
    (tmp_path / "out").mkdir()
    export(tmp_path / "out", steps("one"))
    assert read_manifest(tmp_path / "out", verify=True).rows(Split.TRAIN) == 1
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o777 & ~current_umask()


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_nothing_to_train_on_is_misuse_and_leaves_nothing(tmp_path):
    samples = [sample([Said(text=None, score=1.0)]), *steps("one", split=Split.VALIDATION)]
    refuted = (Refutation(run="run-1", chain=7, problem="packing", reason="it lied"),)
    with pytest.raises(UsageError) as caught:
        export(tmp_path / "out", samples, refuted=refuted)
    assert str(caught.value) == (
        "nothing to export for training as trl-sft: 1 the answer has no text; 1 did not hold when scored again, as "
        "'it lied'; all of 1 rows are for validation; choose more with --top or --keep all, or have none for "
        "validation with --validation 0, or others with --seed"
    )
    with pytest.raises(UsageError, match="nothing was selected"):
        export(tmp_path / "out", [])
    assert names(tmp_path) == []


def test_what_breaks_half_way_leaves_nothing(tmp_path):
    def broken():
        yield from steps("one")
        raise DataError("no more")

    with pytest.raises(DataError, match="no more"):
        write_export(tmp_path / "out", "trl-sft", selection_of([]), broken(), facts=Facts())
    assert names(tmp_path) == []


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_refused(tmp_path, weight):
    samples = [replace(steps("one")[0], weight=weight)]
    with pytest.raises(
        DataError, match="a row of run run-1, problem packing, chain 0, step 1 would hold a number"
    ):
        export(tmp_path / "out", samples)
    assert names(tmp_path) == []


def test_half_a_surrogate_pair_leaves_its_row_out(tmp_path):
    made = export(tmp_path / "out", [*steps("one"), sample([Said(text=WEIRD, score=1.0)])])
    assert made.rows(Split.TRAIN) == 1
    assert made.left_out == {NOT_UNICODE: 1}


def test_no_reader_sees_the_end_of_a_line_within_a_text(tmp_path):
    text = "a\u2028b\u2029c\x85d\x00e\U0001f600\r\n"
    export(tmp_path / "out", steps(text))
    lines = (tmp_path / "out" / "train.jsonl").read_bytes().decode().splitlines()
    assert [json.loads(line)["completion"][0]["content"] for line in lines] == [text]


def test_a_manifest_that_does_not_fit_names_the_file(tmp_path):
    out = tmp_path / "out"
    export(out, steps("one"))
    with pytest.raises(UsageError, match=r"is no export: its manifest\.json cannot be read"):
        read_manifest(tmp_path)
    good = (out / "train.jsonl").read_bytes()
    (out / "train.jsonl").write_bytes(good.replace(b"one", b"two"))
    assert read_manifest(out).rows(Split.TRAIN) == 1
    with pytest.raises(UsageError, match=r"train\.jsonl is not what was exported"):
        read_manifest(out, verify=True)
    with pytest.raises(UsageError, match=r"train\.jsonl is not what was exported"):
        export(out, steps("one"))
    (out / "train.jsonl").unlink()
    with pytest.raises(UsageError, match=r"train\.jsonl cannot be read"):
        read_manifest(out, verify=True)
    (out / "train.jsonl").write_bytes(good)
    said = json.loads((out / "manifest.json").read_text())
    said["filter"]["top_percent"] = 50.0
    (out / "manifest.json").write_text(json.dumps(said))
    with pytest.raises(UsageError, match="was changed: its id does not fit"):
        read_manifest(out, verify=True)
    outside = {"../train.jsonl": said["files"]["train.jsonl"]}
    for broken in (
        "{",
        "[" * 100_000,
        "[]",
        json.dumps(said | {"schema": 2}),
        json.dumps({**said, "files": 3}),
        json.dumps({**said, "files": outside}),
    ):
        (out / "manifest.json").write_text(broken)
        with pytest.raises(UsageError, match="is no manifest of an export"):
            read_manifest(out)


@pytest.mark.parametrize("method", FORMAT_OF)
def test_discovery_train_reads_what_is_written_for_it(tmp_path, method):
    said = [Said(text="best", score=1.0), Said(text="worse", score=0.5)]
    export(tmp_path / "out", [sample(said)], name=FORMAT_OF[method])
    found = read_exports([tmp_path / "out"], method)
    assert list(found.rows("train.jsonl")) == read(tmp_path / "out" / "train.jsonl")


def test_a_bundled_problem_is_named_and_another_one_has_its_path():
    path = share_dir("problems") / "constants-10" / "problem.py"
    bundled = RunFact.of(replace(make_run(), problem="constants-10", problem_path=str(path)))
    assert bundled.loads == "constants-10"
    assert load_problem(bundled.loads).name == "constants-10"
    assert RunFact.of(make_run()).loads == "/problems/packing:packing"
