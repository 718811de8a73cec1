"""Microsoft's Go provider, to compare with, where its built program is given."""

import re
import subprocess
from pathlib import Path

import images
from cluster import Cluster

IMAGE = "mcr.microsoft.com/oss/v2/azure/secrets-store/provider-azure:v1.8.2"


class GoProvider:
    """A DaemonSet like that of its own chart, with the emulator's CA."""

    program = "secrets-store-csi-driver-provider-azure"

    def __init__(self, cluster: Cluster, ca: str):
        self.cluster = cluster
        self.ca = ca

    @classmethod
    def write_image(cls, binary: Path, folder: Path) -> list[Path]:
        """Its program with the libraries that it is linked to, and a shell beside it."""
        image = images.busybox(IMAGE, [f"/bin/{cls.program}"], **{cls.program: binary})
        linked = subprocess.run(["ldd", str(binary)], capture_output=True, text=True).stdout
        image.files |= {library: Path(library) for library in re.findall(r"(/\S+) \(0x", linked)}
        return images.write_all([image], folder)

    def install(self) -> None:
        """Starts it as azure.sock."""
        labels = {"app": "go-provider"}
        folder = "/var/run/secrets-store-csi-providers"
        self.cluster.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "go-provider", "namespace": "kube-system"},
             "data": {"ca.crt": self.ca}},
            {"apiVersion": "apps/v1", "kind": "DaemonSet",
             "metadata": {"name": "go-provider", "namespace": "kube-system"},
             "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {
                 "tolerations": [{"operator": "Exists"}],
                 "containers": [{
                     "name": "provider", "image": IMAGE,
                     "args": [f"--endpoint=unix://{folder}/azure.sock", "--construct-pem-chain=true",
                              "--healthz-port=8989", "--healthz-path=/healthz", "--healthz-timeout=5s"],
                     "env": [{"name": "SSL_CERT_FILE", "value": "/ca/ca.crt"}],
                     "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8989}, "periodSeconds": 1},
                     "volumeMounts": [{"name": "providers", "mountPath": folder}, {"name": "ca", "mountPath": "/ca"}],
                 }],
                 "volumes": [{"name": "providers", "hostPath": {"path": folder}},
                             {"name": "ca", "configMap": {"name": "go-provider"}}],
             }}}},
        )
        self.cluster.wait_rolled_out("go-provider")

    def uninstall(self) -> None:
        """Ends it."""
        self.cluster.kubectl("delete", "daemonset", "go-provider", "-n", "kube-system", "--cascade=foreground")
