"""Programs of node that use the published clients, started as processes."""

import json
import queue
import subprocess
import threading
from pathlib import Path

SECONDS_MAX = 60


class Driver:
    """One program under way. It prints lines; the last one holds the facts, as JSON."""

    def __init__(self, program: Path, settings: dict[str, str]):
        self.name = program.name
        self._process = subprocess.Popen(
            ["node", str(program)],
            cwd=program.parent,
            env=settings,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._errors: list[str] = []
        self._readers = [
            threading.Thread(target=each, daemon=True) for each in (self._read, self._read_errors)
        ]
        for reader in self._readers:
            reader.start()

    def _read(self):
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def _read_errors(self):
        self._errors += self._process.stderr

    def line(self, seconds=SECONDS_MAX):
        """The next line, or None at the end."""
        try:
            return self._lines.get(timeout=seconds)
        except queue.Empty:
            self.kill()
            raise AssertionError(f"{self.name} said nothing for {seconds} s: {self.errors}") from None

    def until(self, wanted, seconds=SECONDS_MAX):
        """Read up to a line that the program prints to tell where it is."""
        while (line := self.line(seconds)) != wanted:
            assert line is not None, f"{self.name} ended before it said {wanted!r}: {self.errors}"

    def say(self, line):
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def lines(self, seconds=SECONDS_MAX):
        """All lines that are left, once the program has ended well."""
        found = []
        while (line := self.line(seconds)) is not None:
            found.append(line)
        code = self._process.wait(timeout=seconds)
        assert code == 0, f"{self.name} ended with {code}: {self.errors}"
        return found

    def facts(self, seconds=SECONDS_MAX):
        """What the program found, once it has ended well."""
        lines = self.lines(seconds)
        assert lines, f"{self.name} told nothing"
        return json.loads(lines[-1])

    @property
    def errors(self):
        if self._process.poll() is not None:
            self._readers[1].join(5)
        return "".join(self._errors)[-4000:]

    def kill(self):
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
