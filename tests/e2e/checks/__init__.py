"""The checks, each a function that raises `Failed` where something is not as it should be."""

from dataclasses import dataclass
from typing import Callable

from world import World


class Failed(Exception):
    """What was expected, and what was found."""


@dataclass(frozen=True)
class Check:
    """A numbered claim, and the most seconds that it may take."""

    number: int
    title: str
    limit: int
    run: Callable[[World], None]


CHECKS: dict[int, Check] = {}


def check(number: int, title: str, limit: int = 180):
    """Registers a function as a check."""

    def register(run: Callable[[World], None]):
        CHECKS[number] = Check(number, title, limit, run)
        return run

    return register


def expect(holds, expected: str, found=None) -> None:
    """Fails where `holds` is not true."""
    if not holds:
        raise Failed(f"expected {expected}" + (f"; found: {found}" if found is not None else ""))
