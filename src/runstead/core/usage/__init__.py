"""Token usage, prices and reports, and the sums that reports are read from."""
