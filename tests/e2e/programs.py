"""The programs of the cluster: installed from Debian, or built once and kept in the cache.

Nothing here comes from anywhere but the registries that `apt-get`, `go` and `cargo` are set up with.
"""

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import screen

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "provider-azure-rs"
BINARIES = CACHE / "bin"

KUBERNETES = "1.34.4"

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
class GoModule:
    """A folder of the cache with source and a go.mod, which Go completes: so it is a copy."""

    name: str
    # What it is copied from: a folder, or `path@version` at the module proxy.
    origin: Path | str
    # Modules that the proxy does not have, and the folder of `go/` that stands in.
    stand_ins: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the copy is."""
        return CACHE / "build" / self.name

    def lay(self) -> None:
        """Copies it, and the modules that stand in."""
        origin = self.origin
        if isinstance(origin, str):
            origin = json.loads(run(["go", "mod", "download", "-json", origin], cwd=CACHE))["Dir"]
        shutil.copytree(origin, self.folder, dirs_exist_ok=True)
        for module, name in self.stand_ins.items():
            shutil.copytree(HERE / "go" / name, self.folder / name, dirs_exist_ok=True)
            run(["go", "mod", "edit", f"-replace={module}=./{name}"], cwd=self.folder)

    def digest(self) -> str:
        """What changes when its source does. A published version never does."""
        digest = hashlib.sha256(str(self.origin).encode())
        folders = [HERE / "go" / name for name in self.stand_ins.values()]
        if isinstance(self.origin, Path):
            folders.append(self.origin)
        for folder in folders:
            for path in sorted(folder.rglob("*")):
                if path.is_file() and ".git" not in path.parts:
                    digest.update(path.read_bytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class GoProgram:
    """A program that is built in the context of a module's go.mod."""

    name: str
    package: str
    module: GoModule
    variables: tuple[str, ...] = ()
    tests: bool = False

    @property
    def binary(self) -> Path:
        """The built program."""
        return BINARIES / self.name

    def build(self) -> None:
        """Builds it, unless the cache has it from the same source."""
        stamp = BINARIES / f"{self.name}.source"
        source = hashlib.sha256(repr((self.package, self.variables, self.module.digest())).encode()).hexdigest()
        if self.binary.exists() and stamp.exists() and stamp.read_text() == source:
            return
        environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -buildvcs=false -trimpath"}
        flags = " ".join(["-s", "-w", *(f"-X {variable}" for variable in self.variables)])
        build = ["go", "test", "-c"] if self.tests else ["go", "build"]
        with screen.timed(f"built {self.name}"):
            self.module.lay()
            run([*build, "-ldflags", flags, "-o", str(self.binary), self.package], cwd=self.module.folder,
                env=environment)
        stamp.write_text(source)


def _own(name: str) -> GoModule:
    """A module in `go/`."""
    return GoModule(name, HERE / "go" / name)


def _of_kubernetes(name: str) -> GoProgram:
    version = "k8s.io/component-base/version"
    major, minor, _ = KUBERNETES.split(".")
    variables = (f"{version}.gitVersion=v{KUBERNETES}", f"{version}.gitMajor={major}", f"{version}.gitMinor={minor}")
    return GoProgram(name, f"k8s.io/kubernetes/cmd/{name}", _own("kubernetes"), variables)


GO_PROGRAMS = [
    *map(_of_kubernetes, ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"]),
    GoProgram("sidecar", "./sidecar", _own("kubernetes")),
    GoProgram("csi-sanity", ".", _own("sanity"), tests=True),
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


def install(more: list[GoProgram]) -> None:
    """Everything that is not this project's own; `more` are programs that not every run needs."""
    BINARIES.mkdir(parents=True, exist_ok=True)
    if missing := missing_packages():
        with screen.timed(f"installed {' '.join(missing)}"):
            quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
            run(["apt-get", "update", "-qq"], env=quiet)
            # Nothing is to be started: only the programs are needed.
            run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing],
                env=quiet | {"RUNLEVEL": "1"})
    for program in [*GO_PROGRAMS, *more]:
        program.build()
    helm()


def helm() -> str:
    """Helm, of the version that the chart is checked with."""
    return run([str(ROOT / ".ci/tool"), "helm"]).strip()

