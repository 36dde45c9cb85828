"""A small server for models that a CPU can run, which answers as vLLM does as far as runs and supervision ask.

It is a program of its own (``python -m discovery.training.engine serve MODEL --port N``) that takes vLLM's arguments,
so that :mod:`discovery.generation.server` looks after it as it does after vLLM: the same log, restarts and publishing.

One request is decoded at a time, its choices together, its prompt read once. More would be computed in fewer steps if
requests shared a batch, but then an answer would depend, in its last digits, on what else was asked just then. Here the
same request has the same answer, always; and models for which that matters are not served by this.
"""
