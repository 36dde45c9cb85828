"""A model server's own count of a prompt's tokens, and its context."""

from discovery.generation.base import CountsTokens
from discovery.records import Message
from discovery.testing.vocabulary import Vocabulary

MESSAGES = (
    Message(role="system", content="Be brief."),
    Message(role="user", content="Count these words. " * 40),
)


async def test_a_server_counts_what_it_would_read(asked):
    vocabulary = Vocabulary("harmony")
    expected = len(
        vocabulary.encode(vocabulary.prompt([{"role": m.role, "content": m.content} for m in MESSAGES]))
    )
    async with asked(server={"context": 4321}) as (_, generator, _):
        assert isinstance(generator, CountsTokens)
        assert generator.context_tokens == 4321
        assert await generator.count_tokens(MESSAGES) == expected


async def test_a_server_that_cannot_count_says_nothing_at_once(asked):
    async with asked(server={"owner": "somebody"}) as (_, generator, sleeps):
        assert generator.context_tokens is None
        assert await generator.count_tokens(MESSAGES) is None
        assert sleeps == []


async def test_a_server_that_is_gone_is_asked_again_for_a_while_and_never_raises(asked):
    async with asked() as (server, generator, sleeps):
        await server.close()
        assert await generator.count_tokens(MESSAGES) is None
        assert len(sleeps) >= 2
