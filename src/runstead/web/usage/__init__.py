"""Usage, cost and prices."""
