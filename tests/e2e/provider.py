"""The provider under test: its image and its Helm chart, one release for each name that it is installed under."""

import json
import re
import tarfile
from pathlib import Path

import programs
from cluster import Cluster
from node import Node, wait_until

CHART = programs.ROOT / "charts/csi-secrets-store-provider-azure-rs"
REPOSITORY = "ghcr.io/provider-azure-rs/provider-azure-rs"
# The image has one tag, and gets another here, so that there is something to upgrade to.
NEXT = "next"


def import_image(on: Node, archive: Path) -> None:
    """Imports what `make image` has built."""
    on.import_image(archive)
    on.tag_image(f"{REPOSITORY}:{version(archive)}", f"{REPOSITORY}:{NEXT}")


def version(archive: Path) -> str:
    """The tag of the image in an archive of docker's."""
    with tarfile.open(archive) as files:
        [image] = json.load(files.extractfile("manifest.json"))
    [name] = image["RepoTags"]
    return name.removeprefix(f"{REPOSITORY}:")


class Provider:
    """A release of the chart."""

    def __init__(self, cluster: Cluster, name: str, values: dict, release: str | None = None):
        self.cluster = cluster
        # The name that classes have under spec.provider.
        self.name = name
        self.daemonset = release or f"provider-{name}"
        self.values = values | {"providerName": name, "fullnameOverride": self.daemonset}

    def install(self, changes: dict | None = None, wait: bool = True) -> None:
        """Installs or upgrades it, with other values for this time."""
        self.cluster.apply(self.cluster.template(CHART, self.daemonset, self.values | (changes or {})))
        if wait:
            self.cluster.wait_rolled_out(self.daemonset)
            # Pods of an earlier template may still be ending, and answer no more.
            wait_until("one pod is left", lambda: len(self.pods()) == 1)

    def uninstall(self) -> None:
        """Removes its pods; its ConfigMaps and its service account are left for the next install."""
        self.cluster.kubectl("delete", "daemonset", self.daemonset, "-n", "kube-system", "--cascade=foreground")

    def pods(self) -> list[dict]:
        """Its pods, those that are ending too."""
        return self.cluster.pods("kube-system", f"app.kubernetes.io/instance={self.daemonset}")

    def logs(self) -> str:
        """What its pods have logged."""
        return self.cluster.kubectl(
            "logs", "-n", "kube-system", "-l", f"app.kubernetes.io/instance={self.daemonset}", "--tail=-1")

    def metrics_path(self) -> str:
        """The path at the API server that leads to the metrics of its pod."""
        [pod] = self.pods()
        return f"/api/v1/namespaces/kube-system/pods/{pod['metadata']['name']}:8898/proxy/metrics"

    def metric(self, name: str, *labels: str) -> float:
        """The sum of a metric's series that have these labels, such as `reason="KV_THROTTLED"`."""
        total = 0.0
        for line in self.cluster.kubectl("get", "--raw", self.metrics_path()).splitlines():
            found = re.fullmatch(rf"{name}(\{{.*\}})? (\S+)", line)
            if found and all(label in (found[1] or "") for label in labels):
                total += float(found[2])
        return total
