"""The cluster: its control plane, and kubectl."""

import json
import secrets
import ssl
import subprocess
import urllib.request
from pathlib import Path

import node
import programs
from node import Node, wait_until

# The issuer whose service accounts the emulator's identity bindings are for. Nobody looks there: the emulator does not
# check signatures.
ISSUER = "https://cluster.oic.azure-emulator.test/"


class CommandFailed(Exception):
    """kubectl's own words."""


class Cluster:
    """A control plane on the node."""

    def __init__(self, on: Node):
        self.node = on
        self.kubeconfig = on.work / "kubeconfig"
        self.token = secrets.token_hex(16)
        self.quotes: list[tuple[str, str]] = []

    def start_control_plane(self) -> None:
        """etcd, API server, controllers and scheduler; the first pods can be scheduled afterwards."""
        work, keys = self.node.work, self.node.work / "keys"
        keys.mkdir()
        programs.run(["openssl", "genrsa", "-out", str(keys / "service-accounts.pem"), "2048"])
        (keys / "tokens.csv").write_text(f"{self.token},admin,admin,system:masters\n")
        self.node.start("etcd", ["etcd", "--data-dir", str(work / "etcd"), "--unsafe-no-fsync",
                                 "--log-level=warn"])
        self._start("kube-apiserver", [
            "--etcd-servers=http://127.0.0.1:2379",
            f"--bind-address={node.API_SERVER}",
            f"--advertise-address={node.API_SERVER}",
            "--secure-port=443",
            # There the API server makes a certificate of its own, for its service's address and names.
            f"--cert-dir={keys}",
            f"--service-cluster-ip-range={node.SERVICES}",
            "--endpoint-reconciler-type=none",
            f"--token-auth-file={keys / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--allow-privileged=true",
            f"--service-account-issuer={ISSUER}",
            f"--service-account-key-file={keys / 'service-accounts.pem'}",
            f"--service-account-signing-key-file={keys / 'service-accounts.pem'}",
            "--kubelet-preferred-address-types=InternalIP",
        ])
        certificate = keys / "apiserver.crt"
        wait_until("the API server is ready", lambda: self._ready(certificate), every=0.05)
        self._write_kubeconfig(certificate)
        self._start("kube-controller-manager", [
            f"--kubeconfig={self.kubeconfig}", "--leader-elect=false",
            f"--service-account-private-key-file={keys / 'service-accounts.pem'}", f"--root-ca-file={certificate}",
            "--kube-api-qps=200", "--kube-api-burst=400", "--concurrent-serviceaccount-token-syncs=20",
        ])
        self._start("kube-scheduler", [
            f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--kube-api-qps=200", "--kube-api-burst=400",
        ])

    def _start(self, name: str, arguments: list[str]) -> None:
        self.node.start(name, [str(programs.BINARIES / name), *arguments])

    def _ready(self, certificate: Path) -> bool:
        if self.node.running["kube-apiserver"].poll() is not None:
            raise CommandFailed(f"the API server has ended; see {self.node.logs}/kube-apiserver.log")
        try:
            context = ssl.create_default_context(cafile=str(certificate))
            request = urllib.request.Request(f"https://{node.API_SERVER}/readyz")
            request.add_header("Authorization", f"Bearer {self.token}")
            with urllib.request.urlopen(request, context=context, timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def _write_kubeconfig(self, certificate: Path) -> None:
        server = {"server": f"https://{node.API_SERVER}", "certificate-authority": str(certificate)}
        self.kubeconfig.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "e2e",
            "clusters": [{"name": "e2e", "cluster": server}],
            "users": [{"name": "admin", "user": {"token": self.token}}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "admin"}}],
        }))

    def start_node(self) -> None:
        """The kubelet; ready when it has its network."""
        self.node.start_kubelet(self.kubeconfig)
        wait_until("the node is ready", lambda: "True" in self.try_kubectl(
            "get", "node", node.NAME, "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}"))

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """Runs kubectl, which must succeed, and returns what it prints."""
        ran = self._kubectl(arguments, given)
        if ran.returncode != 0:
            raise CommandFailed(f"kubectl {' '.join(arguments)}: {ran.stderr.strip()}")
        return ran.stdout

    def try_kubectl(self, *arguments: str) -> str:
        """What kubectl prints, or nothing."""
        return self._kubectl(arguments, None).stdout

    def _kubectl(self, arguments, given) -> subprocess.CompletedProcess:
        command = [str(programs.BINARIES / "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments]
        how = {"input": given} if given is not None else {"stdin": subprocess.DEVNULL}
        return subprocess.run(command, capture_output=True, text=True, timeout=300, **how)

    def run_in(self, namespace: str, pod: str, *command: str) -> bytes:
        """What a command prints in a pod's first container."""
        ran = subprocess.run(
            [str(programs.BINARIES / "kubectl"), f"--kubeconfig={self.kubeconfig}", "exec", "-n", namespace, pod,
             "--", *command], capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
        if ran.returncode != 0:
            raise CommandFailed(f"{' '.join(command)} in {pod}: {ran.stderr.decode().strip()}")
        return ran.stdout

    def quoted(self, command: str, shown: str | None = None) -> str:
        """Runs a kubectl command line as a person types it in a shell, and keeps both for the report."""
        ran = subprocess.run(
            ["sh", "-c", command], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120,
            env={"PATH": f"{programs.BINARIES}:/usr/bin:/bin", "KUBECONFIG": str(self.kubeconfig), "HOME": "/"},
        )
        if ran.returncode != 0:
            raise CommandFailed(f"{command}: {ran.stderr.strip()}")
        self.quote(shown or command, ran.stdout)
        return ran.stdout

    def quote(self, command: str, output: str) -> None:
        """Keeps a command and what it printed for the report."""
        self.quotes.append((command, output.rstrip()))

    def get(self, *what: str) -> dict:
        """An object, or a list of them."""
        return json.loads(self.kubectl("get", *what, "-o", "json"))

    def apply(self, *objects: dict | str | Path) -> None:
        """Applies objects: as JSON, as YAML or from a file."""
        texts = [
            each.read_text() if isinstance(each, Path) else each if isinstance(each, str) else json.dumps(each)
            for each in objects
        ]
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given="\n---\n".join(texts))

    def template(self, chart: Path, release: str, values: dict, crds: bool = True) -> str:
        """The manifests that `helm install` would send."""
        values_file = self.node.work / f"{release}-values.json"
        values_file.write_text(json.dumps(values))
        return programs.run([
            programs.helm(), "template", release, str(chart), "--namespace", "kube-system",
            "--values", str(values_file), "--kube-version", programs.KUBERNETES, "--no-hooks",
            *(["--include-crds"] if crds else []),
        ], env={"HOME": str(self.node.work), "PATH": "/usr/bin:/bin"})

    def names(self, manifests: str) -> set[str]:
        """The objects of manifests, as `kind/name`."""
        return set(self.kubectl("create", "--dry-run=client", "-o", "name", "-f", "-", given=manifests).split())

    def delete_all(self, names: set[str]) -> None:
        """Deletes objects, those with a namespace in kube-system."""
        for name in sorted(names):
            self.kubectl("delete", "-n", "kube-system", "--ignore-not-found", name)

    def wait_rolled_out(self, daemonset: str, limit: int = 90) -> None:
        """Waits until all pods of a DaemonSet are of its newest template, and ready."""
        self.kubectl("rollout", "status", "-n", "kube-system", f"daemonset/{daemonset}", f"--timeout={limit}s")

    def pods(self, namespace: str, selector: str = "") -> list[dict]:
        """The pods of a namespace."""
        return self.get("pods", "-n", namespace, *(["-l", selector] if selector else []))["items"]

    def is_ready(self, pod: dict) -> bool:
        """Whether all containers of a pod are ready."""
        conditions = pod["status"].get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def events(self, namespace: str, pod: str) -> list[dict]:
        """What `kubectl describe pod` lists as events."""
        return self.get("events", "-n", namespace, "--field-selector", f"involvedObject.name={pod}")["items"]
