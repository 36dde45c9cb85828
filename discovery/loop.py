"""The closed loop: rounds of discover, audit, select, train and serve again, stored stage by stage."""
