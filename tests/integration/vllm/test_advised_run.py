"""A run with all that asks a model more than for whole programs, and two models, on one real server."""

import asyncio

import pytest

from discovery.config import (
    AdviserConfig,
    ArmsConfig,
    GeneratorConfig,
    MemberConfig,
    PromptConfig,
    RunConfig,
    SamplingConfig,
    SearchConfig,
)
from discovery.generation.fitting import room
from discovery.launch import started
from discovery.records import INITIAL, AdvicePurpose, RunStatus
from discovery.sandbox import make_backend
from discovery.selection.order import named
from discovery.storage import open_storage

pytestmark = pytest.mark.vllm

ADAPTER = "marker-adapter"
CHAINS, STEPS, CANDIDATES = 2, 4, 3
CONTEXT, ANSWER = 1900, 200
NUMBER = r"-?[0-4]\.[0-9]"
EDIT = (
    "<<<<<<< SEARCH\ndef solve\\(\\):\n=======\n"
    f"def solve\\(\\):\n    return \\[({NUMBER}, ){{9}}{NUMBER}\\]\n>>>>>>> REPLACE"
)
"""What the models are held to, which know no edits of themselves: one that stands in every program."""


@pytest.fixture
def adapter(vllm_server, tiny_models):
    """The name of the server's second model."""
    vllm_server.load(ADAPTER, tiny_models / ADAPTER)
    yield ADAPTER
    vllm_server.unload(ADAPTER)


def config(url, adapter):
    return RunConfig(
        problem="constants-10",
        seed=5,
        search=SearchConfig(
            chains=CHAINS,
            steps=STEPS,
            candidates=CANDIDATES,
            selector="llm-rerank",
            selector_params={"base": "balance", "shortlist": 4},
        ),
        prompt=PromptConfig(edits="diff", context_tokens=CONTEXT),
        adviser=AdviserConfig(reflect=True, max_tokens=150),
        arms=ArmsConfig(choice="ucb"),
        generator=GeneratorConfig(
            kind="mixture",
            sampling=SamplingConfig(max_tokens=ANSWER, extra={"structured_outputs": {"regex": EDIT}}),
            members=tuple(
                MemberConfig(name=name, base_url=(url,), model=model)
                for name, model in (("plain", "tiny"), ("other", adapter))
            ),
        ),
    )


async def test_reflection_ranking_edits_fitting_and_a_mixture_in_one_run(vllm_server, adapter, tmp_path):
    counted = vllm_server.metric("http_requests_total", 'handler="/tokenize"')
    storage = open_storage(str(tmp_path / "runs.db"))
    try:
        async with (
            asyncio.timeout(100),
            started(config(vllm_server.url, adapter), storage, make_backend("process")) as run,
        ):
            summary = await run.execute()
        assert (summary.status, summary.evaluations) == (RunStatus.FINISHED, CHAINS * STEPS * CANDIDATES)
        assert dict(storage.counts(summary.run).failures) == {}, "each edit applies, and gives ten numbers"
        steps = [
            (committed, storage.step(summary.run, chain, committed.step))
            for chain in range(CHAINS)
            for committed in storage.committed_steps(summary.run, chain)
            if committed.step
        ]
        check_edits(storage, summary.run, steps)
        check_prompts(steps)
        check_members(steps, adapter)
        check_advice(storage, summary, steps)
    finally:
        storage.close()
    assert vllm_server.metric("http_requests_total", 'handler="/tokenize"') > counted


def check_edits(storage, run, steps):
    """Each answer changes one line of the main parent, and nothing else of it."""
    for committed, stored in steps:
        assert "<<<<<<< SEARCH" in stored.prompt.messages[0].content
        parent = storage.candidate(run, committed.parents[0]).source
        for outcome in committed.outcomes:
            added = stored.completions[outcome.key.index].text.split("\n")[4]
            assert storage.candidate(run, outcome.key).source == parent.replace(
                "def solve():\n", f"def solve():\n{added}\n"
            )


def check_prompts(steps):
    """All keep to the context, by the tokens that the server itself made of them; some had to be cut for it."""
    most = room(CONTEXT, ANSWER)
    shown = []
    for committed, stored in steps:
        assert max(len(made.prompt_token_ids) for made in stored.completions.values()) <= most
        text = stored.prompt.messages[-1].content
        shown.append(text.count("```python") / len(committed.parents))
    assert min(shown) < 1 == max(shown)


def check_members(steps, adapter):
    """Each completion is of the model that the step's plan names, and both were asked."""
    models = {"plain": "tiny", "other": adapter}
    spoke = set()
    for _, stored in steps:
        for index, completion in stored.completions.items():
            assert completion.model.model == models[stored.step.selection["generators"][index]]
            spoke.add(completion.model.model)
    assert spoke == set(models.values())


def check_advice(storage, summary, steps):
    """Each committed candidate was reflected on and each shortlist ranked; what is said of it is kept, use or none."""
    asked, vain = 0, 0
    for committed, stored in steps:
        about = (summary.run, committed.chain, committed.step)
        reflection, ranking = (
            storage.consultation(*about, purpose) for purpose in (AdvicePurpose.REFLECT, AdvicePurpose.RERANK)
        )
        shortlist = stored.step.selection["values"].get("shortlist")
        assert (reflection is not None) == (committed.committed is not None)
        assert (ranking is not None) == (shortlist is not None)
        for said in filter(None, (reflection, ranking)):
            asked, vain = asked + 1, vain + (said.failure is not None)
            assert said.model.model == "tiny"
            assert said.tokens.prompt > 400
            assert "SEARCH" not in (said.text or ""), "what candidates are held to is nothing to the adviser"
        if reflection is not None:
            assert reflection.subject == committed.committed
            assert "+    return [" in reflection.messages[-1].content
        if ranking is not None:
            assert bool(named(ranking.text, len(shortlist))) == (ranking.failure is None)
    assert (summary.consultations, summary.consultations_in_vain) == (asked, vain)
    assert asked > len(steps), "shortlists, too"
    assert vain, "this model answers with programs, whatever it is asked"
    assert INITIAL in {committed.parents[0] for committed, _ in steps}
