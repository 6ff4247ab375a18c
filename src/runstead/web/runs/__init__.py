"""The list of runs, and the page of a run."""
