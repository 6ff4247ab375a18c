"""`python -m runstead.cli`."""

from runstead.cli import main

main()
