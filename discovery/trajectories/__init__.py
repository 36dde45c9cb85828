"""Trajectories out of storage: assembled, judged, rewarded, selected and exported. See docs/design/0004-training.md."""
