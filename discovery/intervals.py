"""Bootstrap intervals over seeds and chains."""
