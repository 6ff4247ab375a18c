"""A clock that stands still until a test moves it."""

NOON = 1_774_008_000_000


class Clock:
    """Milliseconds since 1970, as stores and commands read them; `elapsed` is a replica's own clock, in seconds."""

    def __init__(self, now=NOON):
        self.now = now

    def __call__(self):
        return self.now

    def elapsed(self):
        return self.now / 1_000

    def advance(self, seconds):
        self.now += round(seconds * 1_000)

    def advance_ms(self, ms):
        self.now += ms
