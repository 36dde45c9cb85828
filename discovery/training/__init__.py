"""Post-training of the generator on exported trajectories; the one home of torch. See docs/design/0004-training.md."""
