"""The checks, each a function that raises `Failed` where something is not as it should be."""

import importlib
import pkgutil
from dataclasses import dataclass
from typing import Callable, Iterable

from driver import WHOLE
from world import World


class Failed(Exception):
    """What was expected, and what was found."""


class LeftOut(Exception):
    """Why a check cannot be made here."""


@dataclass(frozen=True)
class Check:
    """A numbered claim, the maximum of its seconds, and the versions of the driver that it is made with."""

    number: int
    title: str
    limit: int
    drivers: tuple[str, ...]
    run: Callable[[World], None]


CHECKS: dict[int, Check] = {}


def every_check() -> dict[int, Check]:
    """All checks by their numbers, in the order of these."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(sorted(CHECKS.items()))


def check(number: int, title: str, limit: int = 180, drivers: Iterable[str] = WHOLE):
    """Registers a function as a check."""

    def register(run: Callable[[World], None]):
        CHECKS[number] = Check(number, title, limit, tuple(drivers), run)
        return run

    return register


def expect(holds, expected: str, found=None) -> None:
    """Fails where `holds` is not true."""
    if not holds:
        raise Failed(f"expected {expected}" + (f"; found: {found}" if found is not None else ""))
