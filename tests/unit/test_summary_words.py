"""What a run's summary says of its programs."""

from types import SimpleNamespace

from discovery.summary import RunSummary


def words(duplicates, repeats):
    return RunSummary.programs.fget(SimpleNamespace(duplicates=duplicates, repeats=repeats))


def test_the_words_about_programs_name_only_what_there_was():
    assert words(0, 0) == "different"
    assert words(1, 0) == "different, 1 taken over from an equal one"
    assert words(2, 31) == "different, 2 taken over from an equal one, 31 with a solution that the chain had"
