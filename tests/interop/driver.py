"""Node.js programs that use the published clients, as processes."""

import json
import queue
import subprocess
import threading
from pathlib import Path

SECONDS_MAX = 60


class Driver:
    """A running program. It prints lines; the last one is a JSON object of facts."""

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
        """Return the next line, or None at the end."""
        try:
            return self._lines.get(timeout=seconds)
        except queue.Empty:
            self.kill()
            raise AssertionError(f"{self.name} printed nothing for {seconds} s: {self.errors}") from None

    def until(self, wanted, seconds=SECONDS_MAX):
        """Read up to this line."""
        while (line := self.line(seconds)) != wanted:
            assert line is not None, f"{self.name} ended before it printed {wanted!r}: {self.errors}"

    def write_line(self, line):
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def lines(self, seconds=SECONDS_MAX):
        """Wait until the program has ended with 0, and return the remaining lines."""
        found = []
        while (line := self.line(seconds)) is not None:
            found.append(line)
        code = self._process.wait(timeout=seconds)
        assert code == 0, f"{self.name} ended with {code}: {self.errors}"
        return found

    def facts(self, seconds=SECONDS_MAX):
        """Wait until the program has ended with 0, and return the facts that it reported."""
        lines = self.lines(seconds)
        assert lines, f"{self.name} reported nothing"
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
