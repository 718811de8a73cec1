"""The machine that this runs on: what it must let us do, and the namespaces that keep the cluster apart from it."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
# Where the kubelet puts its pods, so that what it leaves is known to be ours.
CGROUP = "provider-azure-rs-e2e"

# What the cluster needs of the kernel, each tried in namespaces of its own.
TRIALS = {
    "processes, mounts and networks of their own (namespaces)": "true",
    "network devices of the kinds veth and bridge":
        "ip link set lo up && ip link add veth0 type veth peer name veth1 && ip link add bridge0 type bridge",
    "overlay file systems": "mount -t tmpfs tmpfs /mnt && mkdir /mnt/upper /mnt/work"
        " && mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work /etc",
}


def apart(command: list[str], dies_with_parent: bool = True) -> list[str]:
    """The command, as the first process of new namespaces: when it ends, every process and mount in them ends too."""
    unshare = ["unshare", "--fork", "--pid", "--kill-child=SIGKILL", "--mount-proc", "--mount", "--net", "--uts",
               "--ipc", "--", *command]
    return ["setpriv", "--pdeathsig", "KILL", *unshare] if dies_with_parent else unshare


def shortcomings() -> list[str]:
    """Why a cluster cannot run here; nothing where it can."""
    if platform.system() != "Linux":
        return ["this is not Linux"]
    if os.geteuid() != 0:
        return ["only root may run a kubelet"]
    found = [f"there is no {program}" for program in ("unshare", "setpriv", "ip") if not shutil.which(program)]
    if found:
        return found
    for needed, trial in TRIALS.items():
        ran = subprocess.run(apart(["sh", "-ec", trial]), stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if ran.returncode != 0:
            found.append(f"the kernel does not let us have {needed}: {ran.stderr.strip()}")
    try:
        for folder in cgroup_folders():
            folder.mkdir(exist_ok=True)
        remove_cgroups()
    except OSError as error:
        found.append(f"control groups cannot be made: {error}")
    return found


def cgroup_folders() -> list[Path]:
    """Our control group, in each hierarchy that the kubelet uses."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS / CGROUP]
    hierarchies = [folder for folder in CGROUPS.iterdir() if folder.is_dir() and not folder.is_symlink()]
    if not (CGROUPS / "memory").is_dir():
        raise OSError(f"{CGROUPS} has no hierarchy for memory")
    return [folder / CGROUP for folder in hierarchies if folder.name != "unified"]


def remove_cgroups() -> None:
    """Removes our control groups, which have no processes any more."""
    for top in cgroup_folders():
        for folder, _, _ in os.walk(top, topdown=False):
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                pass


def description() -> str:
    """The machine in a line."""
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    ).get("PRETTY_NAME", "Linux").strip('"')
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    version = "v2" if (CGROUPS / "cgroup.controllers").exists() else "v1"
    return f"{release}, Linux {platform.release()}, {os.cpu_count()} cores, {memory:.0f} GiB, cgroup {version}"
