"""Messages of rows: prompts as sent, answers with their reasoning where it goes."""

from __future__ import annotations

from dataclasses import dataclass

from discovery.records import Completion, Json, Prompt
from discovery.trajectories.formats.base import Context, Reasoning

Turn = dict[str, Json]

NOT_ONE_QUESTION = "its prompt is more than a system and a user message"


def prompt_turns(prompt: Prompt) -> list[Turn]:
    """The messages of a prompt, exactly as they were sent."""
    return [{"role": message.role, "content": message.content} for message in prompt.messages]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A prompt of one user message, with or without a system message before it.

    Args:
        system: The system message; None where there is none.
        user: The user message.
    """

    system: str | None
    user: str


def question(prompt: Prompt) -> Question | None:
    """A prompt for formats that know no messages; None where it is made of others than a system and a user message."""
    match [(message.role, message.content) for message in prompt.messages]:
        case [("user", user)]:
            return Question(system=None, user=user)
        case [("system", system), ("user", user)]:
            return Question(system=system, user=user)
    return None


def answer_text(completion: Completion, context: Context) -> str:
    """An answer's text, with its reasoning before it where that goes inline and is known."""
    text = completion.text or ""
    if context.reasoning is Reasoning.INLINE and completion.reasoning:
        return f"<think>\n{completion.reasoning}\n</think>\n\n{text}"
    return text


def answer_turn(completion: Completion, context: Context) -> Turn:
    """An answer as a message. The key of its reasoning is left out where none is known.

    Null there would make gpt-oss's chat template fail, and ``""`` would make it write an empty analysis, which a model
    would learn.
    """
    turn: Turn = {"role": "assistant", "content": answer_text(completion, context)}
    if context.reasoning in (Reasoning.THINKING, Reasoning.CONTENT) and completion.reasoning:
        turn[str(context.reasoning)] = completion.reasoning
    return turn
