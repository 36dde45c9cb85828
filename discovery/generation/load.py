"""A server's metrics page as a :class:`~discovery.generation.base.ServerLoad`.

The page is Prometheus' text form with vLLM's names. Values of one name are added up over a server's engines, but
for the usage of the key-value cache: the fullest engine decides. Names that are not listed here, lines that are no
samples and values that are no numbers are passed over, so a page of something else says nothing.
"""

from __future__ import annotations

import re

from discovery.generation.base import ServerLoad

_SAMPLE = re.compile(r"(?P<name>[A-Za-z_:][\w:]*)(?:\{.*\})?[ \t]+(?P<value>\S+)(?:[ \t]+-?\d+)?")
_SUMS = {
    "vllm:num_requests_running": "running",
    "vllm:num_requests_waiting": "waiting",
    "vllm:num_preemptions_total": "preemptions",
    "vllm:prompt_tokens_total": "prompt_tokens",
    "vllm:generation_tokens_total": "completion_tokens",
    "vllm:prefix_cache_queries_total": "cache_queries",
    "vllm:prefix_cache_hits_total": "cache_hits",
}
_KV_USAGE = "vllm:kv_cache_usage_perc"
_MOST = 2.0**53
"""Above all that servers count; sums and differences of such values stay finite."""


def parse_load(server: str, page: str) -> ServerLoad | None:
    """What a metrics page says.

    Args:
        server: The server's URL, without credentials.
        page: The page.

    Returns:
        The load, None where the page says nothing of it.
    """
    sums: dict[str, float] = {}
    kv_usage: float | None = None
    for line in page.splitlines():
        if not line.startswith("vllm:"):
            continue
        sample = _SAMPLE.fullmatch(line.rstrip())
        value = _number(sample["value"]) if sample else None
        if sample is None or value is None:
            continue
        if sample["name"] == _KV_USAGE:
            kv_usage = value if kv_usage is None else max(kv_usage, value)
        elif field := _SUMS.get(sample["name"]):
            sums[field] = sums.get(field, 0.0) + value
    if not sums and kv_usage is None:
        return None
    return ServerLoad(
        server=server,
        running=sums.get("running"),
        waiting=sums.get("waiting"),
        kv_usage=kv_usage,
        preemptions=sums.get("preemptions"),
        prompt_tokens=sums.get("prompt_tokens"),
        completion_tokens=sums.get("completion_tokens"),
        cache_queries=sums.get("cache_queries"),
        cache_hits=sums.get("cache_hits"),
    )


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= _MOST else None
