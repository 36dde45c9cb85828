"""What a run will take: a pilot's measurements, a simulation of the loop, and what would make it shorter."""
