"""Prefect, and all that is only Prefect's: the managed loopback server and the flows over the plain core.

Importing this package imports no Prefect: ``server`` needs it only as a program that it starts, and the
flows load it when a run is scheduled through it.
"""
