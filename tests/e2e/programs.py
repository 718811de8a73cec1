"""The programs of the cluster: installed from Debian, or built once and kept in the cache.

Nothing here comes from anywhere but the registries that `apt-get`, `go` and `cargo` are set up with.
"""

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import screen

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "provider-azure-rs"
BINARIES = CACHE / "bin"

KUBERNETES = "1.34.4"
DRIVER = "1.6.0"

# The command that tells whether a Debian package is there.
PACKAGES = {
    "etcd": "etcd-server",
    "containerd": "containerd",
    "runc": "runc",
    "busybox": "busybox-static",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "ip": "iproute2",
    "openssl": "openssl",
    # For `make image`.
    "buildah": "buildah",
    "prometheus": "prometheus",
    # For the driver's own tests.
    "bats": "bats",
    "envsubst": "gettext-base",
    "jq": "jq",
}


class Missing(Exception):
    """A program that cannot be had on this machine."""


@dataclass(frozen=True)
class GoProgram:
    """A program that is built in the context of a go.mod in `go/`."""

    name: str
    package: str
    module: str
    variables: tuple[str, ...] = ()
    tests: bool = False

    def build(self) -> None:
        """Builds it, unless the cache has it from the same source."""
        binary, stamp = BINARIES / self.name, BINARIES / f"{self.name}.source"
        source = self._source()
        if binary.exists() and stamp.exists() and stamp.read_text() == source:
            return
        environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -buildvcs=false -trimpath"}
        flags = " ".join(["-s", "-w", *(f"-X {variable}" for variable in self.variables)])
        build = ["go", "test", "-c"] if self.tests else ["go", "build"]
        # Go completes go.mod and writes go.sum beside it: not in the tree.
        folder = CACHE / "build" / self.module
        with screen.timed(f"built {self.name}"):
            shutil.copytree(HERE / "go" / self.module, folder, dirs_exist_ok=True)
            run([*build, "-ldflags", flags, "-o", str(binary), self.package], cwd=folder, env=environment)
        stamp.write_text(source)

    def _source(self) -> str:
        digest = hashlib.sha256(repr((self.package, self.variables)).encode())
        for path in sorted((HERE / "go" / self.module).rglob("*")):
            if path.is_file():
                digest.update(path.read_bytes())
        return digest.hexdigest()


def _of_kubernetes(name: str) -> GoProgram:
    version = "k8s.io/component-base/version"
    major, minor, _ = KUBERNETES.split(".")
    variables = (f"{version}.gitVersion=v{KUBERNETES}", f"{version}.gitMajor={major}", f"{version}.gitMinor={minor}")
    return GoProgram(name, f"k8s.io/kubernetes/cmd/{name}", "kubernetes", variables)


GO_PROGRAMS = [
    *map(_of_kubernetes, ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"]),
    GoProgram("sidecar", "./sidecar", "kubernetes"),
    GoProgram(
        "secrets-store-csi-driver",
        "sigs.k8s.io/secrets-store-csi-driver/cmd/secrets-store-csi-driver",
        "driver",
        (f"sigs.k8s.io/secrets-store-csi-driver/pkg/version.BuildVersion=v{DRIVER}",),
    ),
    GoProgram("csi-sanity", "./sanity", "driver", tests=True),
]


def run(command: list[str], **how) -> str:
    """Runs a command to its end and returns what it printed; its errors are the exception's words."""
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, **how)
    if ran.returncode != 0:
        raise Missing(f"{' '.join(command)} failed:\n{(ran.stdout + ran.stderr)[-4000:]}")
    return ran.stdout


def missing_packages() -> list[str]:
    """Debian packages whose programs are not there."""
    return [package for command, package in PACKAGES.items() if not shutil.which(command)]


def shortcomings() -> list[str]:
    """Why the programs cannot be had here; nothing where they can."""
    found = [f"there is no {program}" for program in ("go", "cargo") if not shutil.which(program)]
    if (missing := missing_packages()) and not shutil.which("apt-get"):
        found.append(f"there is no apt-get to install {', '.join(missing)}")
    return found


def install() -> None:
    """Everything that is not this project's own."""
    BINARIES.mkdir(parents=True, exist_ok=True)
    if missing := missing_packages():
        with screen.timed(f"installed {' '.join(missing)}"):
            quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
            run(["apt-get", "update", "-qq"], env=quiet)
            # Nothing is to be started: only the programs are needed.
            run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing],
                env=quiet | {"RUNLEVEL": "1"})
    for program in GO_PROGRAMS:
        program.build()
    helm()


def helm() -> str:
    """Helm, of the version that the chart is checked with."""
    return run([str(ROOT / ".ci/tool"), "helm"]).strip()


def driver_module() -> Path:
    """The driver's source, which has its chart and its tests."""
    folder = CACHE / "build" / "driver"
    found = run(["go", "list", "-mod=mod", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/secrets-store-csi-driver"], cwd=folder)
    return Path(found.strip())
