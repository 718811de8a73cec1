"""`make e2e`: this provider behind the real kubelet, API server and Secrets Store CSI Driver.

The program runs outside and inside. Outside, it looks at the machine, gets the programs, watches the time and writes
the report. Inside, once for each version of the driver, as the first process of namespaces of its own, it brings a
cluster up and checks; when it ends, nothing of the cluster is left.
"""

import argparse
import fcntl
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

# Nothing is written into the tree.
sys.dont_write_bytecode = True

import machine  # noqa: E402
import node  # noqa: E402
import programs  # noqa: E402
import report  # noqa: E402
import screen  # noqa: E402
import story  # noqa: E402
import sync_controller  # noqa: E402
from driver import DRIVERS  # noqa: E402

WORK = programs.CACHE / "work"
# What the programs and the pods of the last run have logged, by driver.
LOGS = programs.CACHE / "logs"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/e2e", description=__doc__.splitlines()[0])
    parser.add_argument("checks", nargs="*", type=int, metavar="CHECK", help="numbers of checks; all by default")
    parser.add_argument("--driver", action="append", choices=DRIVERS, dest="drivers",
                        help="a version of the driver, and more of them; all by default")
    parser.add_argument("--report", type=Path, metavar="FILE", help="where the report is written")
    parser.add_argument("--details", type=Path, metavar="FILE", help="where all is written that commands printed")
    parser.add_argument("--keep", action="store_true", help="leave the cluster of the first driver up until Ctrl-C")
    parser.add_argument("--go-provider", type=Path, metavar="BINARY", help="a Go provider to compare with")
    parser.add_argument("--sync-controller", type=Path, metavar="FOLDER",
                        help="a checkout of kubernetes-sigs/secrets-store-sync-controller, for checks 13 and 18")
    parser.add_argument("--deadline", type=int, default=2400, metavar="SECONDS",
                        help="the maximum time with one version of the driver")
    parser.add_argument("--can-run", action="store_true", help="only say whether this machine can, and why not")
    parser.add_argument("--prepare", action="store_true", help="only install and build what is needed")
    parser.add_argument("--emulator", type=Path, metavar="BINARY", help="the built azure-emulator")
    parser.add_argument("--image", type=Path, metavar="FILE", help="the image as `make image` writes it for docker")
    parser.add_argument("--inside", metavar="DRIVER", help=argparse.SUPPRESS)
    return parser.parse_args()


def outside(given: argparse.Namespace) -> int:
    """Gets what is needed, runs the inside, and removes what that left."""
    if reasons := machine.shortcomings() + programs.shortcomings():
        print("no cluster can run here:", *reasons, sep="\n  ")
        return 1
    if given.can_run:
        return 0
    programs.CACHE.mkdir(parents=True, exist_ok=True)
    with (programs.CACHE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another one is running on this machine")
            return 1
        drivers = [DRIVERS[version] for version in given.drivers or DRIVERS][: 1 if given.keep else None]
        more = [each.program for each in drivers]
        if given.sync_controller:
            more.append(sync_controller.program(given.sync_controller))
        programs.install(more)
        if given.prepare:
            return 0
        shutil.rmtree(LOGS, ignore_errors=True)
        statuses, runs = [], []
        for each in drivers:
            screen.say(f"driver v{each.version}")
            status, ran = one(given, each.version)
            statuses.append(status)
            runs.append(ran)
        if given.report:
            report.write(given.report, runs)
            screen.say(f"wrote {given.report}")
        if given.details:
            report.write_details(given.details, runs)
            screen.say(f"wrote {given.details}")
        return max(statuses)


def one(given: argparse.Namespace, version: str) -> tuple[int, report.Run]:
    """What is checked with one version of the driver."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir()
    try:
        status = watched(machine.apart([sys.executable, *sys.argv, "--inside", version]), given)
        return status, report.Run.read(WORK, version)
    finally:
        with screen.timed("cleaned up"):
            clean_up(version)


def watched(command: list[str], given: argparse.Namespace) -> int:
    """Runs a command that ends in time, whatever happens to us."""
    inside = subprocess.Popen(command)
    node.wait_until("there is a first process inside", lambda: note_first_process(inside.pid), 10)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return inside.wait(None if given.keep else given.deadline)
    except subprocess.TimeoutExpired:
        screen.say(f"FAIL  not done after {given.deadline} s")
        return 1
    finally:
        # Ends every process inside, since the first one ends.
        inside.kill()
        inside.wait()


def note_first_process(outer: int) -> bool:
    """Writes down which process's namespaces are the cluster's, for `nsenter`."""
    children = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()
    if children:
        (WORK / "first-process").write_text(children[0])
    return bool(children)


def clean_up(version: str) -> None:
    """Mounts and networks have ended with their namespaces; folders and control groups have not."""
    for name in ("logs", "var-log"):
        if (WORK / name).exists():
            shutil.copytree(WORK / name, LOGS / version / name, symlinks=True)
    end = time.monotonic() + 30
    while True:
        try:
            machine.remove_cgroups()
            shutil.rmtree(WORK)
            return
        except OSError:
            # Processes that were killed are still going.
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def main() -> int:
    given = arguments()
    if not given.inside:
        return outside(given)
    return story.tell(given, WORK)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except programs.Missing as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
