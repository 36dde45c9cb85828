"""``python -m discovery.training.engine serve MODEL --port N``, with the arguments of vLLM that mean something here."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from discovery.errors import UsageError
from discovery.training.engine.decoding import Decoder
from discovery.training.engine.serving import Engine


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT.

    Args:
        arguments: Without the program's name; None takes ``sys.argv``.

    Returns:
        The exit code: 1 where the model cannot be served.
    """
    parser = argparse.ArgumentParser(prog="python -m discovery.training.engine", allow_abbrev=False)
    serve = parser.add_subparsers(required=True).add_parser("serve", allow_abbrev=False)
    serve.add_argument("model", type=Path)
    serve.add_argument("--served-model-name")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=8000)
    serve.add_argument("--max-model-len", type=int)
    serve.add_argument("--stream-interval", type=int, default=1)
    serve.add_argument("--shutdown-timeout", type=float, default=0.0)
    serve.add_argument("--api-key")
    serve.add_argument("--threads", type=int, default=1)
    given, others = parser.parse_known_args(arguments)
    if others:
        print(f"not known here, passed over: {' '.join(others)}", flush=True)
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout)
    print(f"Starting to load model {given.model}", flush=True)
    try:
        decoder = Decoder(given.model, context=given.max_model_len, threads=given.threads)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    engine = Engine(
        decoder,
        name=given.served_model_name or given.model.name,
        root=str(given.model),
        interval=given.stream_interval,
        api_key=given.api_key,
    )
    web.run_app(
        engine.application(),
        host=given.host,
        port=given.port,
        shutdown_timeout=given.shutdown_timeout,
        handler_cancellation=True,
        access_log=None,
        print=None,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
