"""What candidates are built into, once per source."""
