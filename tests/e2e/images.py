"""Container images, written by hand from static programs: there is no registry in the cluster's network."""

import hashlib
import io
import json
import platform
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import programs

BUSYBOX = Path("/bin/busybox")
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]


@dataclass
class Image:
    """An image of one layer. `files` are paths inside it and the files that they are copies of."""

    name: str
    entrypoint: list[str]
    files: dict[str, Path | bytes]
    links: dict[str, str] = field(default_factory=dict)
    environment: list[str] = field(default_factory=lambda: ["PATH=/bin"])

    def write(self, path: Path) -> None:
        """Writes it as the archive that `docker save` writes, which containerd imports."""
        layer = self._layer()
        digest = hashlib.sha256(layer).hexdigest()
        config = json.dumps({
            "architecture": ARCHITECTURE, "os": "linux",
            "config": {"Entrypoint": self.entrypoint, "Env": self.environment, "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }).encode()
        config_name = f"{hashlib.sha256(config).hexdigest()}.json"
        manifest = [{"Config": config_name, "RepoTags": [self.name], "Layers": [f"{digest}/layer.tar"]}]
        with tarfile.open(path, "w") as archive:
            _add(archive, config_name, config)
            _add(archive, f"{digest}/layer.tar", layer)
            _add(archive, "manifest.json", json.dumps(manifest).encode())

    def _layer(self) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as layer:
            for folder in ("bin", "etc", "mnt", "tmp"):
                entry = tarfile.TarInfo(folder)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
                layer.addfile(entry)
            for inside, outside in self.files.items():
                _add(layer, inside.lstrip("/"), outside if isinstance(outside, bytes) else outside.read_bytes(), 0o755)
            for inside, target in self.links.items():
                entry = tarfile.TarInfo(inside.lstrip("/"))
                entry.type, entry.linkname = tarfile.SYMTYPE, target
                layer.addfile(entry)
        return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def busybox(name: str, entrypoint: list[str], **more: Path) -> Image:
    """An image with a shell, and what else is given, in /bin."""
    applets = programs.run([str(BUSYBOX), "--list"]).split()
    files = {"/bin/busybox": BUSYBOX} | {f"/bin/{inside}": outside for inside, outside in more.items()}
    links = {f"/bin/{applet}": "busybox" for applet in applets if applet != "busybox"}
    users = b"root:x:0:0:root:/:/bin/sh\n"
    return Image(name, entrypoint, files | {"/etc/passwd": users, "/etc/group": b"root:x:0:\n"}, links)


def write_all(made: list[Image], folder: Path) -> list[Path]:
    """Writes each image into the folder."""
    folder.mkdir(exist_ok=True)
    written = []
    for image in made:
        path = folder / (image.name.replace("/", "_").replace(":", "_") + ".tar")
        image.write(path)
        written.append(path)
    return written


def of_applications() -> list[Image]:
    """What every node needs for a pod, and the images of the pods that use secrets: all of them a shell."""
    names = ["gabby.azurecr.io/chat-backend:latest", "docker.io/library/busybox:1",
             # Of the driver's own tests.
             "registry.k8s.io/e2e-test-images/busybox:1.29-4"]
    return [
        busybox("registry.k8s.io/pause:3.10", ["/bin/sleep", "2147483647"]),
        *(busybox(name, ["/bin/sh"]) for name in names),
    ]
