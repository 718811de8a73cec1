"""The Secrets Store CSI Driver, each version of it installed by its own Helm chart, in pods."""

import re
from dataclasses import dataclass
from pathlib import Path

import images
import programs
from cluster import Cluster
from node import NAME, wait_until

MODULE = "sigs.k8s.io/secrets-store-csi-driver"
# The driver asks a provider again at most so often; 2m by default.
ROTATION_SECONDS = 5
DAEMONSET = "csi-secrets-store-csi-driver"

VALUES = {
    "enableSecretRotation": True,
    "rotationPollInterval": f"{ROTATION_SECONDS}s",
    "syncSecret": {"enabled": True},
    "tokenRequests": [{"audience": "api://AzureADTokenExchange"}, {"audience": "api://AKSIdentityBinding"}],
    # By default since v1.2; before, it was another one.
    "linux": {"providersDir": "/var/run/secrets-store-csi-providers"},
}


@dataclass(frozen=True)
class Driver:
    """A version, and what it does differently from the newest."""

    version: str
    # A loop of its own rotates, and writes events at the pod. The newest waits for the kubelet, which publishes again.
    own_rotation: bool = True
    # The counter of its rotations.
    rotations: str = "rotation_reconcile_total"
    # It sends tokens of service accounts at rotations too, and says at the pod why a mount was refused.
    tokens_and_refusals: bool = True

    @property
    def module(self) -> programs.GoModule:
        """Its source, with its chart and its tests. What it depends on is what its own go.mod says."""
        # The public module proxy does not have its logging library.
        return programs.GoModule(f"driver-{self.version}", f"{MODULE}@v{self.version}", {"monis.app/mlog": "mlog"})

    @property
    def program(self) -> programs.GoProgram:
        """The driver's program."""
        return programs.GoProgram(
            f"secrets-store-csi-driver-{self.version}", f"{MODULE}/cmd/secrets-store-csi-driver", self.module,
            (f"{MODULE}/pkg/version.BuildVersion=v{self.version}",))

    def manifests(self, cluster: Cluster) -> str:
        """What its chart installs."""
        return cluster.template(self.module.folder / "charts/secrets-store-csi-driver", "csi", VALUES)

    def write_images(self, cluster: Cluster, folder: Path) -> list[Path]:
        """Images under the names that its chart has; those beside the driver are stand-ins."""
        made = []
        for name in sorted(set(re.findall(r'image: "?([^"\s]+)', self.manifests(cluster)))):
            if re.search(r"/driver:", name):
                made.append(images.busybox(
                    name, ["/bin/secrets-store-csi"], **{"secrets-store-csi": self.program.binary}))
            else:
                sidecar = images.busybox(name, ["/bin/sidecar"], sidecar=programs.BINARIES / "sidecar")
                # Where charts up to v1.3 look for it, to ask whether it is well.
                sidecar.links["/csi-node-driver-registrar"] = "/bin/sidecar"
                made.append(sidecar)
        return images.write_all(made, folder)

    def install(self, cluster: Cluster, instead_of: "Driver | None" = None) -> None:
        """Applies the chart and waits until the kubelet knows the driver. Another version's place is taken as `helm
        upgrade` takes it, which also deletes what the new chart does not have."""
        manifests = self.manifests(cluster)
        cluster.apply(manifests)
        if instead_of:
            cluster.delete_all(cluster.names(instead_of.manifests(cluster)) - cluster.names(manifests))
        cluster.kubectl("wait", "--for=condition=Established", "crd", "--all")
        cluster.wait_rolled_out(DAEMONSET)
        wait_until("the kubelet knows the driver", lambda: "secrets-store.csi.k8s.io" in cluster.try_kubectl(
            "get", "csinode", NAME, "-o", "jsonpath={.spec.drivers[*].name}"))


DRIVERS = {each.version: each for each in [
    Driver("1.6.0", own_rotation=False),
    Driver("1.5.6"),
    Driver("1.4.8"),
    Driver("1.3.4", rotations="total_rotation_reconcile"),
    Driver("1.1.2", rotations="total_rotation_reconcile"),
    Driver("1.0.0", rotations="total_rotation_reconcile", tokens_and_refusals=False),
]}
# The whole story is told with these, with the others no more than files, Secrets, rotation and tokens.
WHOLE = ("1.6.0", "1.5.6")


def restart(cluster: Cluster) -> None:
    """Gives it a new pod, whose log is empty."""
    cluster.kubectl("rollout", "restart", "-n", "kube-system", f"daemonset/{DAEMONSET}")
    cluster.wait_rolled_out(DAEMONSET)
