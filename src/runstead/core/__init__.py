"""Records and rules, pure: no I/O, no clock, and no import but the standard library and msgspec."""
