"""Messages of rows: prompts as sent, answers with their reasoning where it goes."""

from __future__ import annotations

from discovery.records import Completion, Json, Prompt
from discovery.trajectories.formats.base import Context, Reasoning

Turn = dict[str, Json]


def prompt_turns(prompt: Prompt) -> list[Turn]:
    """The messages of a prompt, exactly as they were sent."""
    return [{"role": message.role, "content": message.content} for message in prompt.messages]


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
