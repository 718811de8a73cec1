"""The reports of a run: docs/validation.md, and all that commands printed."""

import dataclasses
import datetime
import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import driver
import machine
import programs
from checks import every_check


@dataclass
class Result:
    """What came of a check."""

    number: int
    title: str
    took: float
    failure: str | None = None
    # Why it was not made.
    left_out: str | None = None
    quotes: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def cell(self) -> str:
        """What the table says of it."""
        return "FAIL" if self.failure else "left out" if self.left_out else f"PASS, {self.took:.0f} s"


@dataclass
class Run:
    """What was checked with one version of the driver."""

    driver: str
    times: list[tuple[str, float]] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)

    @property
    def came_up(self) -> float:
        """Seconds until the cluster was there."""
        return sum(took for _, took in self.times)

    def write(self, folder: Path) -> None:
        """Hands it from inside to outside."""
        (folder / "run.json").write_text(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def read(cls, folder: Path, version: str) -> "Run":
        """What `write` has written; nothing where the inside did not get so far."""
        file = folder / "run.json"
        if not file.exists():
            return cls(version)
        run = json.loads(file.read_text())
        return cls(run["driver"], run["times"], [Result(**each) for each in run["results"]])

    def result(self, number: int) -> Result | None:
        """What came of a check, if it was made."""
        return next((each for each in self.results if each.number == number), None)


INTRODUCTION = f"""# Validation on a real cluster

This page was made by `make e2e`: a one-node cluster of the real programs for each version of the Secrets Store CSI
Driver, each check with a PASS or FAIL. [tests/e2e](../tests/e2e/README.md) says how it works and how to run it. What the checks
saw and measured, and all that their commands print, is in `target/e2e.md` after a run. Azure is the
[emulator](../crates/emulator/README.md), under the public cloud's own host names, so classes, driver and provider are as
in production. What only the real Azure can show is not here.

For a short run, the kubelet's `syncFrequency` is 5 s (1 m by default), and the driver's `rotationPollInterval`
{driver.ROTATION_SECONDS} s (2 m). Two containers of the driver's pod, the registrar and the liveness probe, are
stand-ins of 100 lines.
"""


def write(path: Path, runs: list[Run]) -> None:
    """Writes the page: what passed. What a check has to say is in the details."""
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    facts = {"date": today, "machine": machine.description()} | versions_of_programs()
    parts = [INTRODUCTION, "| | |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in facts.items())]
    parts.append("## Checks, by the driver's version\n\n" + table(runs))
    parts += ["\n".join(missing) + "\n"] if (missing := not_passed(runs)) else []
    path.write_text("\n".join(parts))


def write_details(path: Path, runs: list[Run]) -> None:
    """Writes each check with each driver, with all that its commands printed."""
    parts = ["# What the commands of `make e2e` printed\n"]
    for run in runs:
        parts.append(f"## Driver v{run.driver}\n\n| brought up | |\n|---|---|\n" + "".join(
            f"| {what} | {took:.1f} s |\n" for what, took in run.times))
        parts += [details(each) for each in run.results]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts))


def made(runs: list[Run]) -> dict:
    """The checks that were made with any driver."""
    return {number: check for number, check in every_check().items() if any(run.result(number) for run in runs)}


def table(runs: list[Run]) -> str:
    """A row for each check, a column for each driver."""
    rows = ["| | check | " + " | ".join(f"v{run.driver}" for run in runs) + " |", "|---|---|" + "---|" * len(runs)]
    rows.append("| | the cluster is up | " + " | ".join(
        f"{run.came_up:.0f} s" if run.results else "FAIL" for run in runs) + " |")
    for number, check in made(runs).items():
        cells = (result.cell() if (result := run.result(number)) else "" for run in runs)
        rows.append(f"| {number} | {check.title} | " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def not_passed(runs: list[Run]) -> list[str]:
    """Why checks failed or were left out."""
    return [
        f"- v{run.driver}, {result.number}: {result.failure or f'left out, since {result.left_out}'}"
        for run in runs for result in run.results if result.failure or result.left_out
    ]


def details(result: Result) -> str:
    """A check's own words."""
    lines = [f"### {result.number}. {result.title}: {result.cell()}\n"]
    if result.failure:
        lines.append(f"```text\n{result.failure}\n```\n")
    for command, output in result.quotes:
        if command.startswith("kubectl"):
            lines.append(f"```console\n$ {command}\n{output}\n```\n")
        else:
            lines.append(f"{command[0].upper()}{command[1:]}:\n\n```text\n{output}\n```\n")
    lines += [f"{note}\n" if note.endswith("\n") else f"- {note}" for note in result.notes]
    return "\n".join(lines) + "\n"


def versions_of_programs() -> dict[str, str]:
    """What took part beside the driver."""
    first = lambda *command: subprocess.run(command, capture_output=True, text=True).stdout.splitlines()[0]
    commit = first("git", "-C", str(programs.ROOT), "-c", "safe.directory=*", "rev-parse", "--short", "HEAD")
    return {
        "provider-azure-rs": f"commit {commit}, release build, from the Helm chart",
        "Kubernetes (kubelet, API server, controllers, scheduler)": f"v{programs.KUBERNETES}",
        "containerd, runc, etcd": ", ".join([
            first("containerd", "--version").split()[2], first("runc", "--version").split()[-1],
            first("etcd", "--version").split()[-1]]),
        "Helm": first(programs.helm(), "version", "--short"),
    }
