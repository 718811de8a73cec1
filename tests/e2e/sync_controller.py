"""The Secrets Store Sync Controller, another caller of providers: it writes Secrets without any pod. Its source is
given, since it is not at the public module proxy."""

from pathlib import Path

import images
import programs
from cluster import Cluster
from node import Node

NAME = "secrets-store-sync-controller"
# Where its chart looks for providers.
PROVIDERS = "/var/run/secrets-store-sync-providers"
DEPLOYMENT = f"{NAME}-manager"
AUDIENCE = "api://AzureADTokenExchange"


def program(checkout: Path) -> programs.GoProgram:
    """Its program, built with the dependencies that its own go.mod says."""
    module = programs.GoModule("sync-controller", checkout.resolve(), {"monis.app/mlog": "mlog"})
    return programs.GoProgram(NAME, "./cmd", module)


class SyncController:
    """A release of its own chart."""

    def __init__(self, cluster: Cluster, checkout: Path):
        self.cluster = cluster
        self.program = program(checkout)
        self.chart = self.program.module.folder / "manifest_staging/charts" / NAME

    def install(self, on: Node, folder: Path) -> None:
        """Brings its image and starts it. A CRD that is there already stays, as with `helm install`."""
        values = {
            "tokenRequestAudience": [{"audience": AUDIENCE}],
            "image": {"repository": f"registry.k8s.io/secrets-store-sync/{NAME}", "tag": "e2e"},
        }
        image = images.busybox(f"{values['image']['repository']}:e2e", [f"/{NAME}"])
        image.files[f"/{NAME}"] = self.program.binary
        for archive in images.write_all([image], folder):
            on.import_image(archive)
        self.cluster.apply(*self.chart.glob("crds/secret-sync*.yaml"))
        self.cluster.kubectl("wait", "--for=condition=Established", "crd", "--all")
        self.cluster.apply(self.cluster.template(self.chart, "sync", values, crds=False))
        self.cluster.kubectl(
            "rollout", "status", "-n", "kube-system", f"deployment/{DEPLOYMENT}", "--timeout=90s")

    def uninstall(self) -> None:
        """Ends its pod."""
        self.cluster.kubectl("delete", "deployment", DEPLOYMENT, "-n", "kube-system", "--cascade=foreground")
