"""Repeated scores: their statistic, its interval, and the CPUs that they have for themselves."""
