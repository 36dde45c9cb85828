"""The metrics page as an endpoint gets it."""

import asyncio

import openai  # noqa: F401  so that no deadline here pays for its import

from discovery.generation.endpoint import Endpoint
from discovery.generation.load import parse_load
from discovery.testing.server import FakeConfig, FakeServer


class Bare(FakeServer):
    """A server that is not vLLM: no metrics page, no version."""

    def __init__(self):
        super().__init__()
        self.asked = []

    async def _respond(self, request, reader, writer):
        self.asked.append(request.path)
        beside = request.path in ("/metrics", "/version")
        return await super()._respond(
            request if not beside else type(request)("GET", "/nothing", request.headers, b""), reader, writer
        )


async def test_the_page_lies_beside_the_api():
    async with FakeServer(FakeConfig(slots=4)) as server:
        endpoint = Endpoint(server.url, None, probe_s=2.0)
        load = parse_load(endpoint.shown_url, await endpoint.metrics())
        await endpoint.close()
    assert (load.server, load.running, load.waiting) == (endpoint.shown_url, 0.0, 0.0)


async def test_a_server_without_one_is_asked_once():
    async with Bare() as server:
        endpoint = Endpoint(server.url, None, probe_s=2.0)
        assert await endpoint.metrics() is None
        assert await endpoint.metrics() is None
        assert server.asked.count("/metrics") == 1
        await endpoint.close()


async def test_a_server_that_is_gone_is_asked_again(unused_tcp_port):
    endpoint = Endpoint(f"http://127.0.0.1:{unused_tcp_port}/v1", None, probe_s=2.0)
    assert await endpoint.metrics() is None
    async with FakeServer() as server:
        await server.close()
        await server.start(port=unused_tcp_port)
        assert await endpoint.metrics() is not None
    await endpoint.close()


class Silent(FakeServer):
    """A server that takes requests and never answers."""

    async def _respond(self, request, reader, writer):
        await asyncio.Event().wait()


async def test_a_silent_server_is_not_waited_for():
    async with Silent() as server, asyncio.timeout(60):
        endpoint = Endpoint(server.url, None, probe_s=2.0)
        assert await endpoint.metrics(timeout_s=0.1) is None
        await endpoint.close()


async def test_no_version_says_nothing_of_the_list_of_models():
    async with Bare() as server:
        endpoint = Endpoint(server.url, None, probe_s=2.0)
        assert await endpoint.version() is None
        assert endpoint.lists_models
        assert [card["id"] for card in await endpoint.models()] == ["fake"]
        await endpoint.close()
