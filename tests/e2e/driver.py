"""The Secrets Store CSI Driver, installed by its own Helm chart, in pods."""

from pathlib import Path

import images
import programs
from cluster import Cluster
from node import NAME, wait_until

# The driver asks a provider again at most so often; 2m by default.
ROTATION_SECONDS = 5

VALUES = {
    "enableSecretRotation": True,
    "rotationPollInterval": f"{ROTATION_SECONDS}s",
    "syncSecret": {"enabled": True},
    "tokenRequests": [{"audience": "api://AzureADTokenExchange"}, {"audience": "api://AKSIdentityBinding"}],
}


def write_images(folder: Path) -> list[Path]:
    """Images under the names that the chart has; the sidecars are stand-ins."""
    built = programs.BINARIES
    made = [
        images.busybox(f"registry.k8s.io/csi-secrets-store/driver:v{programs.DRIVER}", ["/bin/secrets-store-csi"],
                       **{"secrets-store-csi": built / "secrets-store-csi-driver"}),
        images.busybox("registry.k8s.io/sig-storage/csi-node-driver-registrar:v2.16.0", ["/bin/sidecar"],
                       sidecar=built / "sidecar"),
        images.busybox("registry.k8s.io/sig-storage/livenessprobe:v2.18.0", ["/bin/sidecar"],
                       sidecar=built / "sidecar"),
    ]
    return images.write_all(made, folder)


def restart(cluster: Cluster) -> None:
    """Gives it a new pod, whose log is empty."""
    cluster.kubectl("rollout", "restart", "-n", "kube-system", "daemonset/csi-secrets-store-csi-driver")
    cluster.wait_rolled_out("csi-secrets-store-csi-driver")


def install(cluster: Cluster, chart: Path) -> None:
    """Applies the chart and waits until the kubelet knows the driver."""
    cluster.apply(cluster.template(chart, "csi", VALUES))
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all")
    cluster.wait_rolled_out("csi-secrets-store-csi-driver")
    wait_until("the kubelet knows the driver", lambda: "secrets-store.csi.k8s.io" in cluster.try_kubectl(
        "get", "csinode", NAME, "-o", "jsonpath={.spec.drivers[*].name}"))
