from hypothesis import given
from hypothesis import strategies as st

from discovery.generation.base import ServerLoad
from discovery.generation.load import parse_load
from discovery.pressure import Pressure

URL = "http://127.0.0.1:8000/v1"

PAGE = """\
# HELP python_gc_objects_collected_total Objects collected during gc
# TYPE python_gc_objects_collected_total counter
python_gc_objects_collected_total{generation="0"} 11829.0
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 12.0
vllm:num_requests_running{engine="1",model_name="tiny"} 10.0
vllm:num_requests_waiting{engine="0",model_name="tiny"} 3.0
vllm:num_requests_waiting{engine="1",model_name="tiny"} 0.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="tiny",reason="capacity"} 3.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="tiny",reason="deferred"} 0.0
vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="tiny"} 0.75
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0",model_name="tiny"} 3600.0
vllm:prefix_cache_queries_created{engine="0",model_name="tiny"} 1.7636e+09
vllm:prefix_cache_hits_total{engine="0",model_name="tiny"} 2688.0
vllm:external_prefix_cache_hits_total{engine="0",model_name="tiny"} 7.0
vllm:prompt_tokens_total{engine="0",model_name="tiny"} 1.5e+06 1763600000000
vllm:prompt_tokens_total{engine="1",model_name="a } {b"} 100
vllm:generation_tokens_total{engine="0",model_name="tiny"} 18000.0
vllm:generation_tokens_created{engine="0",model_name="tiny"} 1.7636e+09
vllm:num_preemptions_total{engine="0",model_name="tiny"} 2.0
vllm:e2e_request_latency_seconds_bucket{engine="0",le="+Inf",model_name="tiny"} 4.0
"""


def test_a_page_of_two_engines():
    assert parse_load(URL, PAGE) == ServerLoad(
        server=URL,
        running=22.0,
        waiting=3.0,
        kv_usage=0.75,
        preemptions=2.0,
        prompt_tokens=1_500_100.0,
        completion_tokens=18_000.0,
        cache_queries=3600.0,
        cache_hits=2688.0,
    )


def test_what_is_not_said_is_unknown():
    load = parse_load(URL, "vllm:num_requests_waiting 0\n")
    assert load == ServerLoad(server=URL, waiting=0.0)


def test_a_page_of_something_else_says_nothing():
    assert parse_load(URL, "<html>vllm:num_requests_running 3</html>") is None
    assert parse_load(URL, "") is None


def test_values_that_are_no_numbers_are_passed_over():
    page = "vllm:num_requests_running NaN\nvllm:num_requests_waiting +Inf\nvllm:kv_cache_usage_perc 0.5\n"
    assert parse_load(URL, page) == ServerLoad(server=URL, kv_usage=0.5)


@given(st.lists(st.tuples(st.sampled_from(["running", "waiting"]), st.floats(min_value=0)), max_size=8))
def test_no_page_makes_a_limit_that_is_no_number(samples):
    """Several engines are added up, and what follows from the sums is multiplied and rounded."""
    pressure = Pressure(floor=4, ceiling=64, limit=32)
    page = "".join(f'vllm:num_requests_{name}{{engine="{i}"}} {v}\n' for i, (name, v) in enumerate(samples))
    for in_flight in (0, 32, 64):
        load = parse_load(URL, page)
        pressure = pressure.after([load] if load else [], in_flight)
        assert 4 <= pressure.limit <= 64


@given(st.text() | st.text(alphabet='vllm:num_requests_running{}=", 0123.eN\n', max_size=80))
def test_no_page_is_an_error(page):
    parse_load(URL, page)
    parse_load(URL, f"vllm:num_requests_running{page}")
