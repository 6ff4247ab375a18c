"""The real program, started as a process and used over HTTP, in the ways in which things go wrong."""
