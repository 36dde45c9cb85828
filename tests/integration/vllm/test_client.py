"""The client against a real vLLM server."""

import pytest

pytestmark = pytest.mark.vllm


def test_the_models_say_what_they_were_taught(vllm_server, gptoss_server):
    answer = vllm_server.chat("Say something.", seed=1, n=2, max_tokens=300)
    texts = [choice["message"]["content"] for choice in answer["choices"]]
    assert len(set(texts)) == 2
    assert all(text.startswith("```python\n# EVOLVE-BLOCK-START\ndef solve()") for text in texts)
    message = gptoss_server.chat("Say something.", temperature=0, max_tokens=300)["choices"][0]["message"]
    assert message["reasoning"].startswith("The error is the sum of ten squares")
    assert message["content"].startswith("```python\n# EVOLVE-BLOCK-START\ndef solve()")
