"""The report of a run, for docs/validation.md."""

import datetime
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import driver
import machine
import programs


@dataclass
class Result:
    """What came of a check."""

    number: int
    title: str
    took: float
    failure: str | None = None
    quotes: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


INTRODUCTION = f"""# Validation on a real cluster

This page was made by `make e2e`: a one-node cluster of the real programs, each check with a PASS or FAIL, and what
commands printed. [tests/e2e](../tests/e2e/README.md) says how it works and how to run it. Azure is the
[emulator](../crates/emulator/README.md), under the public cloud's own host names, so classes, driver and provider
are as in production; what only the real Azure can show is not here.

For a short run, the kubelet's `syncFrequency` is 5 s (1 m by default), and the driver's `rotationPollInterval`
{driver.ROTATION_SECONDS} s (2 m). Two containers of the driver's pod, the registrar and the liveness probe, are
stand-ins of 90 lines.
"""


def write(path: Path, results: list[Result], times: list[tuple[str, float]], versions: dict[str, str]) -> None:
    """Writes the page."""
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    parts = [INTRODUCTION, "| | |\n|---|---|\n" + "".join(
        f"| {name} | {value} |\n" for name, value in {"date": today, "machine": machine.description()}.items()
    ) + "".join(f"| {name} | {value} |\n" for name, value in versions.items())]
    parts.append("## Time to bring it up\n\n| | |\n|---|---|\n" + "".join(
        f"| {what} | {took:.1f} s |\n" for what, took in times))
    parts.append("## Checks\n\n| | check | | took |\n|---|---|---|---|\n" + "".join(
        f"| {each.number} | {each.title} | {'FAIL' if each.failure else 'PASS'} | {each.took:.0f} s |\n"
        for each in results))
    parts += [section(each) for each in results]
    path.write_text("\n".join(parts))


def section(result: Result) -> str:
    """A check's own words."""
    lines = [f"### {result.number}. {result.title}\n"]
    if result.failure:
        lines.append(f"**FAIL**\n\n```text\n{result.failure}\n```\n")
    for command, output in result.quotes:
        if command.startswith("kubectl"):
            lines.append(f"```console\n$ {command}\n{output}\n```\n")
        else:
            lines.append(f"{command[0].upper()}{command[1:]}:\n\n```text\n{output}\n```\n")
    lines += [f"{note}\n" if note.endswith("\n") else f"- {note}" for note in result.notes]
    return "\n".join(lines) + "\n"


def versions_of_programs() -> dict[str, str]:
    """What took part."""
    first = lambda *command: subprocess.run(command, capture_output=True, text=True).stdout.splitlines()[0]
    commit = first("git", "-C", str(programs.ROOT), "-c", "safe.directory=*", "rev-parse", "--short", "HEAD")
    return {
        "provider-azure-rs": f"commit {commit}, release build, from the Helm chart",
        "Kubernetes (kubelet, API server, controllers, scheduler)": f"v{programs.KUBERNETES}",
        "Secrets Store CSI Driver": f"v{programs.DRIVER}, from its Helm chart",
        "containerd, runc, etcd": ", ".join([
            first("containerd", "--version").split()[2], first("runc", "--version").split()[-1],
            first("etcd", "--version").split()[-1]]),
        "Helm": first(programs.helm(), "version", "--short"),
    }
