"""A loop of fakes: what each round learns from, when it ends, and what a kill between any two acts costs: nothing."""

from collections import Counter
from dataclasses import replace

import pytest

from discovery.errors import ProblemError, UsageError, WeightsError
from discovery.loop.folder import write_text_whole
from discovery.loop.report import make_report
from discovery.loop.rounds import perform_here
from discovery.loop.stages import Measured
from discovery.training.config import LoraConfig, TrainConfig
from discovery.trajectories.records import Filter, Keep
from tests.unit.loop.conftest import FakeRuns, FakeTrainer, Killed


async def test_each_revision_is_measured_on_all_problems_and_learns_from_the_seen_ones(make_loop):
    looping = make_loop()
    await looping.go()
    measured = looping.folder.measured()
    assert [one.revision for one in measured] == [0, 1, 2]
    for one in measured:
        assert [(run.problem.rpartition("/")[2], run.seed) for run in one.runs] == [
            (f"{name}.py", seed) for name in ("seen", "seen-too", "unseen") for seed in (0, 1)
        ]
    first, second = looping.world.exported
    ids = tuple(f"{name}-loopfixed-r0-s{seed}" for name in ("seen", "seen-too") for seed in (0, 1))
    assert first.revisions == (ids,)
    assert second.revisions == (ids, tuple(run.replace("-r0-", "-r1-") for run in ids))
    assert [training.base for training in looping.world.trained] == [
        looping.tmp_path.parent / "tiny",
        looping.folder.revision(1),
    ]
    assert (looping.folder.revision(1) / "model.safetensors").exists()


async def test_a_loop_that_is_done_does_nothing_again(make_loop):
    looping = make_loop()
    await looping.go()
    acts = list(looping.world.acts)
    await looping.go()
    assert looping.world.acts == acts


async def test_seeds_are_the_same_for_each_revision_and_differ_between_rounds_where_something_is_drawn(
    make_loop,
):
    looping = make_loop()
    await looping.go()
    plan = looping.folder.plan()
    assert [plan.run_config("p", seed).seed for seed in (0, 1)] == [0, 1]
    one, two = looping.world.trained
    assert one.config.seed != two.config.seed
    assert looping.world.exported[0].filter.seed != looping.world.exported[1].filter.seed
    other = replace(plan, run=replace(plan.run, seed=9))
    assert other.drawn("train", 1) != plan.drawn("train", 1)


@pytest.mark.parametrize(
    ("shape", "revisions", "base"),
    [
        ({"replay": 0}, {1}, "1"),
        ({"replay": 1, "start": "base"}, {0, 1}, "tiny"),
    ],
)
async def test_replay_and_where_training_starts_are_settings(make_loop, shape, revisions, base):
    looping = make_loop(shape=shape)
    await looping.go()
    learnt_from = looping.world.exported[1].revisions
    assert {int(run.split("-r")[1][0]) for runs in learnt_from for run in runs} == revisions
    assert looping.world.trained[1].base.name == base


async def test_adapters_are_always_trained_on_the_base(make_loop):
    looping = make_loop(train=TrainConfig(lora=LoraConfig(rank=4)))
    await looping.go()
    assert [training.base.name for training in looping.world.trained] == ["tiny", "tiny"]


async def test_the_filter_is_the_plans(make_loop):
    looping = make_loop(filter=Filter(keep=Keep.STEP, top_percent=20))
    await looping.go()
    assert [choice.filter.keep for choice in looping.world.exported] == [Keep.STEP, Keep.STEP]
    assert {choice.filter.top_percent for choice in looping.world.exported} == {20}


@pytest.mark.parametrize(
    ("gains", "made", "result"),
    [((0.0, -1.0), 1, 0), ((0.0, 0.0), 1, 0), ((0.0, 1.0, 0.5), 2, 1), ((0.0, 0.001, 0.002), 2, 2)],
)
async def test_a_revision_that_does_not_help_ends_the_loop_and_the_one_before_is_the_result(
    make_loop, gains, made, result
):
    looping = make_loop(gains=gains)
    await looping.go()
    report = make_report(looping.folder)
    assert (len(looping.world.trained), report.result) == (made, result)
    assert report.weights == str(
        looping.folder.revision(result) if result else looping.tmp_path.parent / "tiny"
    )
    assert all((looping.folder.revision(number) / "config.json").exists() for number in range(1, made + 1))
    assert ("does not help" in report.ended) == (result < made)


async def test_all_rounds_are_made_where_that_is_asked_for_and_the_last_that_helped_is_the_result(make_loop):
    looping = make_loop(gains=(0.0, 1.0, -5.0, 0.5, 2.0), rounds=4, shape={"all_rounds": True})
    await looping.go()
    report = make_report(looping.folder)
    assert [made.verdict.helps for made in report.rounds] == [True, False, False, True]
    assert [made.verdict.against for made in report.rounds] == [0, 1, 1, 1]
    assert (report.result, report.ended) == (4, "It ended after 4 rounds, as planned.")
    assert [training.base.name for training in looping.world.trained] == ["tiny", "1", "2", "3"]


async def test_lower_is_better_where_a_problem_says_so(make_loop):
    looping = make_loop(gains=(0.0, 100.0, 200.0))
    looping.runs = FakeRuns(looping.world, "minimize")
    await looping.go()
    report = make_report(looping.folder)
    assert report.result == 2
    assert report.problems[0].figures[1].change.estimate == -100
    assert {problem.said(problem.figures[1]) for problem in report.problems} == {"better"}


async def test_nothing_to_learn_from_ends_the_loop_without_a_training(make_loop):
    looping = make_loop()
    looping.world.rows = 0
    await looping.go()
    report = make_report(looping.folder)
    assert (looping.world.trained, report.result) == ([], 0)
    assert "nothing of its runs is worth training on" in report.ended


async def test_killed_between_any_two_acts_it_goes_on_and_repeats_none(make_loop):
    """Runs, trainings and exports: what was done is never done again, and the outcome is that of a loop left alone."""
    small = {"seen": ("seen",), "seeds": 1}
    undisturbed = make_loop("undisturbed", **small)
    await undisturbed.go()
    expected = undisturbed.world.acts
    assert len(expected) > 40
    for kill_at in range(len(expected)):
        looping = make_loop(f"killed{kill_at}", **small)
        looping.world.kill_at = kill_at
        with pytest.raises(Killed):
            await looping.go()
        assert len(looping.world.acts) == kill_at
        await looping.go()
        told = Counter(looping.world.acts)
        done = {what: count for what, count in told.items() if what.startswith(("runs/", "checkpoints/"))}
        assert set(done.values()) == {1}, f"killed before {expected[kill_at]}"
        assert set(told) == set(expected)
        assert _without_place(looping) == _without_place(undisturbed)


def _without_place(looping):
    return str(make_report(looping.folder).as_dict()).replace(str(looping.tmp_path), "")


async def test_no_server_is_started_for_runs_that_are_all_done(make_loop):
    looping = make_loop()
    place = [what for what in (await _acts(make_loop("first"))) if what.startswith(("serve", "record "))]
    assert place[:2] == ["serve tiny", "record Measured"]
    looping.world.kill_at = (await _acts(make_loop("second"))).index("record Measured")
    with pytest.raises(Killed):
        await looping.go()
    before = len(looping.world.acts)
    await looping.go()
    assert looping.world.acts[before] == "record Measured"


async def _acts(looping):
    await looping.go()
    return looping.world.acts


async def test_runs_by_other_weights_than_those_measured_are_refused(make_loop):
    looping = make_loop()
    looping.runs.spoken = "/weights/of/somebody"
    with pytest.raises(
        WeightsError, match=r"runs of revision 1 were by /weights/of/somebody, as those of revision 0"
    ):
        await looping.go()
    assert [one.revision for one in looping.folder.measured()] == [0]


async def test_runs_of_one_revision_by_two_models_are_refused(make_loop):
    looping = make_loop()
    (looping.world.place / "spoke").mkdir()
    run = looping.runs.run

    async def odd(job, place, title):
        await run(job, place, title)
        if job.seed == 1:
            (looping.world.place / "spoke" / job.id).write_text("/another")

    looping.runs.run = odd
    with pytest.raises(WeightsError, match="completions of /another and of "):
        await looping.go()


async def test_completions_that_do_not_say_who_wrote_them_are_told_in_the_report(make_loop):
    looping = make_loop()
    measured = looping.runs.measured
    looping.runs.measured = lambda job: replace(measured(job), spoke={"": 8})
    await looping.go()
    assert "does not say which weights it serves" in make_report(looping.folder).notes[-1]


async def test_a_problem_or_a_model_that_changed_in_between_is_refused(make_loop, write_problem, model):
    looping = make_loop()
    looping.world.kill_at = 5
    with pytest.raises(Killed):
        await looping.go()
    write_problem("unseen", more="\n# another\n")
    with pytest.raises(ProblemError, match=r"unseen.* has changed since this loop began"):
        await looping.go()
    write_problem("unseen")
    (model / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes()[:-4] + b"abcd")
    with pytest.raises(WeightsError, match="was written over since this loop began"):
        await looping.go()


async def test_only_one_process_works_on_a_loop(make_loop, monkeypatch):
    looping = make_loop()
    with (
        looping.folder.locked(),
        pytest.raises(UsageError, match="another process works in"),
        looping.folder.locked(patience_s=0.0, say=looping.said.append),
    ):
        pass
    await looping.go()


async def test_each_run_export_and_training_is_work_of_its_own_for_a_scheduler(make_loop):
    looping, names = make_loop(rounds=1, seeds=1), []

    async def perform(work):
        names.append(work.name)
        await work.complete()
        await work.complete()  # as a retry would
        await perform_here(work)

    await looping.go(perform=perform)
    runs = [f"{name}-loopfixed-r{{}}-s0" for name in ("seen", "seen-too", "unseen")]
    assert names == [
        *(run.format(0) for run in runs),
        "export for round 1",
        "train revision 1",
        *(run.format(1) for run in runs),
    ]
    assert (len(looping.world.exported), len(looping.world.trained)) == (1, 1)


async def test_it_says_where_it_is_and_how_long_it_may_take(make_loop):
    looping = make_loop(rounds=1)
    ticks = iter(range(10_000))
    loop = looping.loop()
    loop._clock = lambda: float(60 * next(ticks))
    await loop.execute()
    said = "\n".join(looping.said)
    assert "round 0 of 1: measuring revision 0 by 6 runs" in said
    assert "revision 0, run 2 of 6: seen, seed 1; about 5 min left of this stage" in said
    assert "round 1 of 1: training revision 1" in said
    assert "6 steps of 2 trajectories to learn from; 1 refuted" in said
    assert "revision 1 helps against revision 0 on the held-out problems" in said


async def test_the_folder_may_move_when_nobody_works_in_it(make_loop, folder_of):
    looping = make_loop(rounds=1)
    await looping.go()
    moved = looping.folder.path.rename(looping.tmp_path / "elsewhere")
    report = make_report(folder_of(moved))
    assert report.weights == str(moved / "revisions" / "1")


async def test_a_stage_without_its_record_is_not_believed(make_loop):
    looping = make_loop()
    junk = looping.folder.round(0) / ".measured.json.123"
    junk.parent.mkdir(parents=True)
    junk.write_text('{"revision": 0')
    assert looping.folder.stage(Measured, 0) is None
    await looping.go()
    assert len(looping.folder.measured()) == 3


async def test_a_problem_that_changes_while_a_loop_goes_on_ends_it_before_the_next_measurement(
    make_loop, write_problem
):
    looping = make_loop()
    train = FakeTrainer.train

    async def changing(self, training):
        write_problem("unseen", more="\n# another\n")
        return await train(self, training)

    loop = looping.loop()
    loop._parts.trainer.train = changing.__get__(loop._parts.trainer)
    with pytest.raises(ProblemError, match="has changed since this loop began"):
        await loop.execute()
    assert [one.revision for one in looping.folder.measured()] == [0]
    assert not any("-r1-" in act for act in looping.world.acts)


def test_what_is_stored_is_there_whole_or_not_at_all(tmp_path):
    write_text_whole(tmp_path / "a" / "file", "as it was")
    with pytest.raises(UnicodeEncodeError):
        write_text_whole(tmp_path / "a" / "file", "x" * 1_000_000 + "\ud800")
    assert (tmp_path / "a" / "file").read_text() == "as it was"
    (tmp_path / "blocked").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        write_text_whole(tmp_path / "blocked" / "file", "text")


async def test_runs_are_counted_with_those_that_an_earlier_process_made(make_loop):
    looping = make_loop()
    looping.world.kill_at = 8  # in the third of six runs
    with pytest.raises(Killed):
        await looping.go()
    looping.said.clear()
    await looping.go()
    assert looping.said[0].endswith("measuring revision 0 by 6 runs, 2 of them done")
    assert looping.said[1].startswith("revision 0, run 3 of 6: seen-too, seed 0")
