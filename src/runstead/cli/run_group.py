"""The group `runstead runs`. The files `run_*.py` add its commands."""

from cyclopts import App

runs = App(name="runs", help="Create, follow, cancel and retry runs.")
