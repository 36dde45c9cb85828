"""Problems whose solutions are data: a schema, and nothing runs."""

import json
import random
import textwrap
from datetime import UTC, datetime

import pytest

from discovery.check import check_problem
from discovery.config import GeneratorConfig
from discovery.data import loads_document
from discovery.errors import DataError, Invalid, ProgramFailed
from discovery.evaluator import Evaluator
from discovery.generation.base import ParentView
from discovery.generation.extract import extract
from discovery.generation.factory import make_generator
from discovery.generation.mutation import Mutation
from discovery.generation.prompt import system_text
from discovery.plugins import load_problem
from discovery.problem import DeclarationError, problem
from discovery.program import Program
from discovery.records import (
    INITIAL,
    Candidate,
    Completion,
    Evaluation,
    EvaluationState,
    Failure,
    FailureKind,
    ModelIdentity,
)
from discovery.sandbox import make_backend
from discovery.testing.generator import collect, request_for
from discovery.testing.server import FakeServer, Reply

SCHEMA = {
    "type": "object",
    "properties": {"x": {"type": "number"}, "name": {"type": "string"}},
    "required": ["x"],
    "additionalProperties": False,
}
PLUGIN = f"""
from discovery import Invalid, problem

SCHEMA = {SCHEMA!r}

@problem(
    name="one-number",
    statement="Give a document whose number x is as close to one half as you can; nothing else of it counts.",
    initial='{{"x": 0.25, "name": "first"}}\\n',
    direction="minimize",
    bounds=(0.0, 1.0),
    schema=SCHEMA,
)
def score(program):
    x = program.data["x"] if isinstance(program.data, dict) else None
    if type(x) not in (int, float) or not 0 <= x <= 1:
        raise Invalid("x is not a number in [0, 1]")
    return abs(x - 0.5)
"""


def a_completion(text, finish_reason="stop"):
    model = ModelIdentity(generator="openai")
    return Completion(
        key=INITIAL, text=text, finish_reason=finish_reason, model=model, created_at=datetime.now(UTC)
    )


@pytest.fixture
def plugin(tmp_path):
    file = tmp_path / "one_number.py"
    file.write_text(textwrap.dedent(PLUGIN))
    return file


@pytest.fixture
def one_number(plugin):
    return load_problem(str(plugin))


def declared(**settings):
    options = {"name": "d", "statement": "Give a number, please.", "initial": '{"x": 1}', **settings}
    return problem(**options)(lambda program: 0.0)


def test_the_language_is_json():
    assert declared(schema=SCHEMA).settings.language == "json"
    assert declared(schema=SCHEMA, language="JSON").settings.schema == SCHEMA


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"schema": [1]}, "a JSON Schema"),
        ({"schema": {"x": {1, 2}}}, "a JSON Schema"),
        ({"schema": {"x": float("nan")}}, "a JSON Schema"),
        ({"schema": {1: "x"}}, "a JSON Schema"),
        ({"schema": SCHEMA, "language": "python"}, "solutions are JSON"),
        ({"schema": SCHEMA, "command": ["sh", "{program}"]}, "nothing runs"),
    ],
)
def test_a_faulty_declaration_is_told(settings, words):
    with pytest.raises(DeclarationError, match=words):
        declared(**settings)


def test_data_is_the_text_read_once():
    program = Program('{"x": [1, 2.5]}', None)
    assert program.data == {"x": [1, 2.5]}
    assert program.data is program.data


@pytest.mark.parametrize(
    "text",
    ["", "{", "NaN", '{"x": Infinity}', "1e999", '{"x": 1, "x": 2}', '[{"a": {"b": 1, "b": 1}}]', "1 2"],
)
def test_what_is_not_strict_json_is_bad_data(text):
    with pytest.raises(DataError):
        loads_document(text)
    with pytest.raises(ProgramFailed) as caught:
        _ = Program(text, None).data
    assert caught.value.kind == FailureKind.BAD_DATA


@pytest.mark.parametrize(
    ("answer", "source"),
    [
        ('{"x": 0.5}', '{"x": 0.5}\n'),
        (' \n{"x":\n 0.5}\n\n', '{"x":\n 0.5}\n'),
        ('Here it is:\n\n```json\n{"x": 0.5}\n```\nDone.', '{"x": 0.5}\n'),
        ('```\n{"x": 0.5}\n```', '{"x": 0.5}\n'),
    ],
)
def test_an_answer_is_one_document(one_number, answer, source):
    assert extract(a_completion(text=answer), one_number) == source


@pytest.mark.parametrize(
    ("answer", "finish", "words"),
    [
        ("I cannot.", "stop", "not one JSON document"),
        ('{"x": 0.', "length", "cut off at the token limit"),
        ('{"x": NaN}', "stop", "not a finite number"),
        ('{"x": 1, "x": 2}', "stop", "twice"),
        ('```json\n{"x": 1}\n```\n```json\n{"x": 2}\n```', "stop", "2 code blocks"),
        (None, "length", "cut off"),
    ],
)
def test_what_is_not_is_told(one_number, answer, finish, words):
    found = extract(a_completion(text=answer, finish_reason=finish), one_number)
    assert isinstance(found, Failure)
    assert found.kind is FailureKind.NO_PROGRAM
    assert words in found.message


def test_the_prompt_asks_for_a_document_and_shows_the_schema(one_number):
    text = system_text(one_number)
    assert json.dumps(SCHEMA) in text
    assert "one JSON document" in text
    assert "solve" not in text
    assert "code block" not in text


async def test_the_schema_goes_with_the_request(one_number):
    answer = Reply(text='{"x": 0.5}')
    async with FakeServer(answer=lambda messages, seed: answer) as server:
        config = GeneratorConfig(kind="openai", base_url=(server.url,))
        generator = make_generator(config, one_number)
        await generator.start()
        completions = await collect(generator, request_for())
        await generator.close()
    assert server.requests[0]["response_format"]["json_schema"]["schema"] == SCHEMA
    assert extract(completions[0], one_number) == '{"x": 0.5}\n'


def test_mutations_are_documents():
    initial = '{\n  "x": 0.25,\n  "more": [1, 2.5, -3],\n  "name": "a + b"\n}\n'
    generator = Mutation(declared(schema=SCHEMA, initial=initial))
    rng = random.Random(0)
    source = initial
    seen = set()
    for _ in range(400):
        parents = (ParentView(key=INITIAL, source=source, score=0.25, metrics={}),)
        text, _ = generator.propose(parents, rng.randrange(1 << 40))
        loads_document(text)
        seen.add(text)
        source = text if rng.random() < 0.3 else source
    assert len(seen) > 200


async def judged(one, source):
    """As the evaluator does, without its processes."""
    score = failure = None
    try:
        score = one.checked(one.scorer(Program(source, None)))
    except ProgramFailed as error:
        failure = Failure(kind=FailureKind(error.kind), message=error.message)
    except Invalid as error:
        failure = Failure(kind=FailureKind.INVALID, message=error.reason)
    return Evaluation(
        key=INITIAL,
        state=EvaluationState.SCORED if score else EvaluationState.FAILED,
        score=score,
        failure=failure,
        started_at=datetime.now(UTC),
    )


async def test_check_finds_nothing_wrong_and_names_an_initial_document_that_is_none(plugin):
    assert await check_problem(str(plugin), judged) == []
    plugin.write_text(plugin.read_text().replace('{"x": 0.25', '{"x": 0.25,,'))
    found = await check_problem(str(plugin), judged)
    assert any(finding.where == "initial" and "not JSON" in finding.message for finding in found)


async def test_nothing_runs_and_it_is_scored(one_number, tmp_path):
    evaluator = Evaluator(one_number, backend=make_backend("process"), slots=1)
    await evaluator.start()
    try:
        for source, state, kind in (
            ('{"x": 0.4}\n', EvaluationState.SCORED, None),
            ("nothing\n", EvaluationState.FAILED, FailureKind.BAD_DATA),
            ('{"x": 7}\n', EvaluationState.FAILED, FailureKind.INVALID),
        ):
            candidate = Candidate(key=INITIAL, source=source, parents=(), created_at=datetime.now(UTC))
            found = await evaluator.evaluate(candidate)
            assert found.state is state
            assert (found.failure and found.failure.kind) == kind
    finally:
        await evaluator.close()
