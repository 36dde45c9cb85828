"""The command line: ``discovery ...``. Every command is a thin layer over the library.

Human words go to standard output (live progress to standard error); with ``--json`` standard output gets
exactly one line, a JSON object or list. Exit codes: 0 done and valid, 1 done and the answer is no (an invalid
solution, a problem with faults), 2 misuse or something missing, 130 interrupted.
"""

from discovery.cli.app import main

__all__ = ["main"]
