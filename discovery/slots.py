"""Evaluation slots: pairs of a scorer's worker and a sandbox, made, replaced and recycled."""
