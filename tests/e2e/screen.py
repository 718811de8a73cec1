"""What a person reads: one line for each thing that happens, with the seconds since the start."""

import sys
import time

_started = time.monotonic()
_colours = sys.stdout.isatty()


def seconds() -> float:
    """Seconds since the program's start."""
    return time.monotonic() - _started


def say(text: str) -> None:
    """A line of what is being done."""
    print(f"{seconds():7.1f} s  {text}", flush=True)


def verdict(passed: bool, text: str) -> None:
    """A check's PASS or FAIL line."""
    word = "PASS" if passed else "FAIL"
    if _colours:
        word = f"\033[{32 if passed else 31};1m{word}\033[0m"
    say(f"{word}  {text}")


class timed:
    """Says what is done, and afterwards how long it took."""

    def __init__(self, what: str):
        self.what = what
        self.took = 0.0

    def __enter__(self) -> "timed":
        self._began = time.monotonic()
        return self

    def __exit__(self, kind, *_) -> None:
        self.took = time.monotonic() - self._began
        if kind is None:
            say(f"{self.what}: {self.took:.1f} s")
        else:
            say(f"{self.what}: stopped after {self.took:.1f} s")
