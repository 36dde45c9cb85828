import pytest

from discovery.errors import UsageError
from discovery.training.exports import TRAIN, VALIDATION, read_exports


def test_rows_of_all_exports_come(export):
    one = export("one", train=[export.row(1), export.row(2)], validation=[export.row(3)])
    two = export("two", train=[export.row(4)])
    exports = read_exports([one, two], "sft")
    assert sorted(row["origin"]["chain"] for row in exports.rows(TRAIN)) == [1, 2, 4]
    assert [row["origin"]["chain"] for row in exports.rows(VALIDATION)] == [3]
    assert {source.folder: source.rows for source in exports.sources} == {
        str(one): {TRAIN: 2, VALIDATION: 1},
        str(two): {TRAIN: 1},
    }


def test_the_order_in_which_exports_are_named_changes_nothing(export):
    """Else the same training, named the other way round, would go on with other rows than it began with."""
    folders = [export(str(n), train=[export.row(n)]) for n in range(3)]
    assert read_exports(folders, "sft") == read_exports(folders[::-1], "sft")


def test_a_file_that_changes_after_its_hash_was_taken_is_refused(export):
    folder = export("one", train=[export.row(1)])
    exports = read_exports([folder], "sft")
    (folder / TRAIN).write_text((folder / TRAIN).read_text().replace("number 1", "number 2"))
    with pytest.raises(UsageError, match=r"train\.jsonl was changed while it was read"):
        list(exports.rows(TRAIN))


def test_a_changed_file_is_refused(export):
    folder = export("one", train=[export.row(1)])
    text = (folder / TRAIN).read_text()
    (folder / TRAIN).write_text(text.replace("number 1", "number 2"))
    with pytest.raises(UsageError, match="not what was exported"):
        read_exports([folder], "sft")


@pytest.mark.parametrize(
    ("method", "format", "said"),
    [
        ("dpo", "trl-sft", "has format 'trl-sft', and this method reads 'trl-dpo'"),
        ("sft", "trl-grpo", "has format 'trl-grpo', and this method reads 'trl-sft'"),
    ],
)
def test_an_export_for_another_method_is_refused(export, method, format, said):
    with pytest.raises(UsageError, match=said):
        read_exports([export("one", format, train=[export.row(1)])], method)


def test_nothing_the_same_twice_and_what_is_no_export_are_refused(export, tmp_path):
    folder = export("one", train=[export.row(1)])
    with pytest.raises(UsageError, match="no export is named"):
        read_exports([], "sft")
    with pytest.raises(UsageError, match="would count twice"):
        read_exports([folder, folder], "sft")
    with pytest.raises(UsageError, match="is no export"):
        read_exports([tmp_path], "sft")
    with pytest.raises(UsageError, match=r"has no train\.jsonl"):
        read_exports([export("two", validation=[export.row(1)])], "sft")
