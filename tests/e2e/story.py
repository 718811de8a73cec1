"""What happens inside: a cluster comes up with a version of the driver, and is checked."""

import argparse
import signal
import time
import traceback
from pathlib import Path

import images
import node
import programs
import provider
import report
import screen
from azure import Azure
from checks import Check, LeftOut, every_check
from cluster import Cluster, CommandFailed
from driver import DRIVERS, Driver
from go_provider import GoProvider
from node import Node
from sync_controller import SyncController
from world import World


def tell(given: argparse.Namespace, work: Path) -> int:
    """Everything; the exit status."""
    node.reap()
    driver = DRIVERS[given.inside]
    ran = report.Run(driver.version)
    here = Node(work)
    cluster = Cluster(here)
    try:
        world = bring_up(given, here, cluster, driver, ran.times)
    except (CommandFailed, TimeoutError, programs.Missing) as error:
        screen.say(f"FAIL  the cluster did not come up: {error}")
        print(cluster.try_kubectl("get", "pods", "-A", "-o", "wide"))
        print(cluster.try_kubectl("get", "events", "-A", "--field-selector", "type=Warning"))
        return 1
    checks = every_check()
    for number in given.checks or checks:
        if driver.version in checks[number].drivers:
            ran.results.append(run(world, checks[number]))
    failed = sum(bool(each.failure) for each in ran.results)
    screen.say(f"driver v{driver.version}: {len(ran.results) - failed} of {len(ran.results)} checks passed; the cluster"
               f" came up in {ran.came_up:.1f} s")
    ran.write(work)
    if given.keep:
        keep(world)
    return 1 if failed else 0


def bring_up(given: argparse.Namespace, here: Node, cluster: Cluster, driver: Driver,
             times: list[tuple[str, float]]) -> World:
    """A cluster with the driver and this provider, and the time that each part took."""
    work = here.work
    azure = Azure(here, given.emulator)

    def timed(what: str, *deeds) -> None:
        with screen.timed(what) as timing:
            for deed in deeds:
                deed()
        times.append((what, timing.took))

    timed("containerd, and the emulator as Azure", here.lay_folders, here.lay_network, here.start_containerd,
          azure.start)
    timed("etcd and the API server ready", cluster.start_control_plane)
    timed("the kubelet ready", cluster.start_node)
    archives = images.write_all(images.of_applications(), work / "images")
    archives += driver.write_images(cluster, work / "images")
    if given.go_provider:
        archives += GoProvider.write_image(given.go_provider, work / "images")
    timed("images imported", *(lambda archive=archive: here.import_image(archive) for archive in archives),
          lambda: provider.import_image(here, given.image))
    timed("the driver in its pod", lambda: driver.install(cluster))
    values = {
        "ca": {"bundle": azure.ca_file.read_text()},
        "identityBinding": {"clusterCa": False, "tokenProxyUrl": f"https://{node.ADDRESS}:8443",
                            "sniName": azure.token_proxy_name()},
    }
    providers = {name: provider.Provider(cluster, name, values) for name in ("azure-rs", "azure")}
    timed("the provider in its pods, azure-rs.sock and azure.sock", *(each.install for each in providers.values()))
    go = GoProvider(cluster, azure.ca_file.read_text()) if given.go_provider else None
    controller = SyncController(cluster, given.sync_controller) if given.sync_controller else None
    return World(cluster, azure, driver, providers, go, controller)


class TooLong(Exception):
    """A check's time is up."""


def run(world: World, check: Check) -> report.Result:
    """Runs a check within its time, and says what came of it."""
    screen.say(f"check {check.number}: {check.title}")
    world.notes, world.cluster.quotes = [], []

    def too_long(*_):
        raise TooLong(f"not done after {check.limit} s")

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(check.limit)
    began = time.monotonic()
    failure = left_out = None
    try:
        check.run(world)
    except KeyboardInterrupt:
        raise
    except LeftOut as reason:
        left_out = str(reason)
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
        frames = traceback.extract_tb(error.__traceback__)
        for frame in frames[-4:]:
            screen.say(f"      {Path(frame.filename).name}:{frame.lineno} {frame.line}")
        screen.say(f"      {failure}")
    finally:
        signal.alarm(0)
    took = time.monotonic() - began
    if left_out:
        screen.say(f"left out, since {left_out}")
    else:
        screen.verdict(failure is None, f"{check.number} {check.title} ({took:.1f} s)")
    return report.Result(check.number, check.title, took, failure, left_out, world.cluster.quotes, world.notes)


def keep(world: World) -> None:
    """Waits for Ctrl-C, and says how to look around."""
    work = world.cluster.node.work
    enter = f"nsenter --all --target $(cat {work}/first-process)"
    print(f"""
The cluster stays up until Ctrl-C. In another terminal, as root:

  {enter} env KUBECONFIG={world.cluster.kubeconfig} {programs.BINARIES}/kubectl get pods -A

Logs of its programs are in {work}/logs, the emulator's control API is at http://127.0.0.1:8482 inside.
""", flush=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        pass
