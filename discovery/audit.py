"""Scoring a run's best candidates again, from nothing."""
