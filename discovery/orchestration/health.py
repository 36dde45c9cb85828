"""Whether a Prefect API answers, asked without importing Prefect."""

from __future__ import annotations

import http.client
import os
import urllib.parse
import urllib.request

HOST = "127.0.0.1"
"""Where the managed server listens, and nowhere else."""


def answers(url: str, timeout_s: float = 2.0) -> bool:
    """Whether a Prefect API is healthy at a URL."""
    try:
        request = urllib.request.Request(f"{url.rstrip('/')}/health", headers=_authorization())
        with _opener(url).open(request, timeout=timeout_s) as response:
            return bool(response.status == 200)
    except (OSError, ValueError, http.client.HTTPException):
        return False


def _authorization() -> dict[str, str]:
    key = os.environ.get("PREFECT_API_KEY")
    return {"Authorization": f"Bearer {key}"} if key else {}


def _opener(url: str) -> urllib.request.OpenerDirector:
    # A proxy that the environment names is for the world outside, never for this machine.
    if urllib.parse.urlsplit(url).hostname in (HOST, "localhost", "::1"):
        return urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener()
