"""What the README claims, measured: ``python -m benchmarks [NAME ...]``.

Each benchmark is a module with ``run() -> Table``; figures are ratios within one run or CPU time over the whole
process tree, never wall time of a busy machine. Tables are printed, JSON goes to ``benchmarks/results``.
"""
