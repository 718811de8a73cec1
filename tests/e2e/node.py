"""The node: its network, container runtime and kubelet, in the namespaces that this process is the first of."""

import ipaddress
import json
import os
import signal
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import machine
import programs

NAME = "node"
ADDRESS = "10.99.0.1"
PODS = "10.244.0.0/23"
SERVICES = "10.96.0.0/16"
# The addresses of the services `kubernetes` and `kube-dns`. Nobody forwards them: what serves them listens there.
API_SERVER = "10.96.0.1"
DNS = "10.96.0.10"
IMDS = "169.254.169.254"

CONTAINERD = "/run/containerd/containerd.sock"


class Node:
    """Folders of the machine that only this process sees, and the programs that run on them."""

    def __init__(self, work: Path):
        self.work = work
        self.logs = work / "logs"
        self.logs.mkdir()
        self.running: dict[str, subprocess.Popen] = {}

    def start(self, name: str, command: list[str]) -> subprocess.Popen:
        """Starts a program that runs as long as the node; its output goes to a file of its name."""
        log = (self.logs / f"{name}.log").open("ab")
        # In a session of its own, so that Ctrl-C reaches only us.
        program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.running[name] = program
        return program

    def stop(self, name: str, with_signal: int = signal.SIGTERM) -> None:
        """Ends a program of `start`."""
        program = self.running.pop(name)
        program.send_signal(with_signal)
        program.wait(30)

    def lay_folders(self) -> None:
        """Gives the cluster its own /run, /var/lib, /var/log and a copy of /etc, at their usual paths."""
        for path in ("/run", "/var/lib", "/var/log"):
            own = self.work / path.strip("/").replace("/", "-")
            own.mkdir()
            sh(f"mount --bind {own} {path}")
        upper, below = self.work / "etc", self.work / "etc-work"
        upper.mkdir()
        below.mkdir()
        sh(f"mount -t overlay overlay -o lowerdir=/etc,upperdir={upper},workdir={below} /etc")
        # Mounts that the driver makes below it must reach the kubelet and the containers.
        kubelet = Path("/var/lib/kubelet")
        kubelet.mkdir()
        sh(f"mount --bind {kubelet} {kubelet} && mount --make-rshared {kubelet}")
        Path("/etc/hosts").write_text("127.0.0.1 localhost\n")
        Path("/etc/resolv.conf").write_text(f"nameserver {DNS}\n")

    def lay_network(self) -> None:
        """An address for the node, a way out that leads nowhere, and the addresses of what every node can reach."""
        sh(f"""
            ip link set lo up
            ip link add node0 type veth peer name outside0
            ip address add {ADDRESS}/24 dev node0
            ip link set node0 up
            ip link set outside0 up
            ip route add default via 10.99.0.254 dev node0
            for address in {API_SERVER} {DNS} {IMDS}; do ip address add $address/32 dev lo; done
        """)
        folder = Path("/etc/cni/net.d")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "10-pods.conflist").write_text(json.dumps({
            "cniVersion": "1.0.0",
            "name": "pods",
            "plugins": [{
                "type": "bridge",
                "bridge": "pods0",
                "isGateway": True,
                "ipam": {"type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]},
            }],
        }))

    def start_containerd(self) -> None:
        """The container runtime."""
        config = self.work / "containerd.toml"
        config.write_text(f"""
version = 2
[grpc]
  address = "{CONTAINERD}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.10"
  # Without CAP_SYS_RESOURCE a sandbox's oom_score_adj is refused, and runc does not say so.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
""")
        self.start("containerd", ["containerd", "--config", str(config)])
        wait_until("containerd answers", lambda: os.path.exists(CONTAINERD) and quiet(["ctr", "version"]))

    def import_image(self, archive: Path) -> None:
        """Puts an image beside those that a node has pulled."""
        sh(f"ctr --namespace k8s.io images import {archive}")

    def tag_image(self, name: str, another: str) -> None:
        """Gives an image another name."""
        sh(f"ctr --namespace k8s.io images tag {name} {another}")

    def start_kubelet(self, kubeconfig: Path) -> None:
        """The kubelet. What is set here is what it does not find out about such a small node by itself."""
        for folder in machine.cgroup_folders():
            folder.mkdir(exist_ok=True)
        config = self.work / "kubelet.json"
        config.write_text(json.dumps({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{machine.CGROUP}",
            "enforceNodeAllocatable": [],
            "failCgroupV1": False,
            "failSwapOn": False,
            "makeIPTablesUtilChains": False,
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "clusterDNS": [DNS],
            "clusterDomain": "cluster.local",
            "resolvConf": "/etc/resolv.conf",
            "kubeAPIQPS": 200,
            "kubeAPIBurst": 400,
            "maxPods": 400,
            # How often a pod's volumes are published again, and so how soon the driver can rotate; 1m by default.
            "syncFrequency": "5s",
        }))
        self.start("kubelet", [
            str(programs.BINARIES / "kubelet"), f"--config={config}", f"--kubeconfig={kubeconfig}",
            f"--hostname-override={NAME}", f"--node-ip={ADDRESS}",
        ])


def processes(name: str) -> list[int]:
    """The processes of the node whose program has this name."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if Path(os.readlink(entry / "exe")).name == name:
                    found.append(int(entry.name))
            except OSError:
                pass
    return found


class Names(threading.Thread):
    """The cluster's DNS: the emulator for Azure's names, and no address for any other."""

    def __init__(self):
        super().__init__(daemon=True)
        self.known: set[str] = set()

    def run(self) -> None:
        # Bound before its address is there, it would answer from another one.
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.bind((DNS, 53))
        while True:
            question, asker = listener.recvfrom(512)
            try:
                answer = self._answer(question)
            except (IndexError, struct.error, UnicodeDecodeError):
                continue
            listener.sendto(answer, asker)

    def _answer(self, question: bytes) -> bytes:
        """The answer of RFC 1035, section 4: a header, the question again, and an A record where there is one."""
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]].decode("ascii").lower())
            at += 1 + question[at]
        kind, _ = struct.unpack("!HH", question[at + 1 : at + 5])
        known = ".".join(labels) in self.known
        record = b""
        if known and kind == 1:
            record = struct.pack("!HHHIH", 0xC00C, 1, 1, 5, 4) + ipaddress.ip_address(ADDRESS).packed
        flags = 0x8580 if known else 0x8583
        header = question[:2] + struct.pack("!HHHHH", flags, 1, 1 if record else 0, 0, 0)
        return header + question[12 : at + 5] + record


def reap() -> None:
    """Forks; the child goes on, and the first process stays to bury the orphans of containers until the child ends."""
    child = os.fork()
    if child == 0:
        return
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    while True:
        gone, status = os.wait()
        if gone == child:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def sh(script: str) -> str:
    """Runs a shell script, which must succeed."""
    return programs.run(["sh", "-ec", script])


def quiet(command: list[str]) -> bool:
    """Whether a command succeeds."""
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def wait_until(what: str, holds, limit: float = 60, every: float = 0.1):
    """Waits for a function to return something true, and returns that."""
    end = time.monotonic() + limit
    while True:
        if found := holds():
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"after {limit:.0f} s it is not so that {what}")
        time.sleep(every)
