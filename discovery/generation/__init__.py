"""What makes candidates: a prompt to K completions, and a completion to a program.

``prompt`` composes what a model is asked, ``failures`` folds what went wrong so far, ``extract`` finds the
program in an answer; ``mutation`` (embedded, no model) and ``openai`` (any compatible server) answer;
``factory`` makes the configured one. Importing this package loads none of them.
"""

from __future__ import annotations

from discovery.generation.factory import make_generator

__all__ = ["make_generator"]
