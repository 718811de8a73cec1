"""Everything that a check can use: the cluster, Azure and the providers, and short words for common deeds."""

import base64
import hashlib
import json
from dataclasses import dataclass, field

from azure import Azure
from cluster import Cluster
from driver import Driver
from go_provider import GoProvider
from node import wait_until
from provider import Provider
from sync_controller import SyncController

SHELL = "docker.io/library/busybox:1"
# Runs until it is told to end, and ends then at once, which a shell that is process 1 does only with a trap.
IDLE = "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"


@dataclass
class World:
    """What is up."""

    cluster: Cluster
    azure: Azure
    driver: Driver
    # By the name that classes have under spec.provider.
    providers: dict[str, Provider]
    go_provider: GoProvider | None = None
    sync_controller: SyncController | None = None
    # Sentences for the report that no command printed: measured times and counts.
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Keeps a sentence for the report."""
        self.notes.append(text)

    def make_namespace(self, name: str) -> str:
        """A namespace, with the service account that its pods run as."""
        self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        wait_until("the namespace has its service account", lambda: self.cluster.try_kubectl(
            "get", "serviceaccount", "default", "-n", name, "-o", "name"))
        return name

    def delete_namespace(self, name: str) -> None:
        """Deletes it with its pods, and waits for their volumes to be gone."""
        self.cluster.kubectl("delete", "pods", "--all", "-n", name, "--grace-period=1", "--timeout=120s")
        self.cluster.kubectl("delete", "namespace", name, "--wait=false")

    def wait_ready(self, namespace: str, count: int, limit: float = 90, selector: str = "") -> list[dict]:
        """Waits until so many pods are ready, and all there are."""

        def ready():
            pods = self.cluster.pods(namespace, selector)
            return pods if len(pods) == count and all(map(self.cluster.is_ready, pods)) else None

        try:
            return wait_until(f"{count} pods of {namespace} are ready", ready, limit, every=0.3)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.complaints(namespace)}") from None

    def complaints(self, namespace: str) -> str:
        """The last warnings of a namespace's pods."""
        events = self.cluster.get("events", "-n", namespace, "--field-selector", "type=Warning")["items"]
        return "\n".join(f"  {each['involvedObject']['name']}: {each['message']}" for each in events[-6:])

    def read(self, namespace: str, pod: str, path: str) -> bytes:
        """The bytes of a file, as the pod's first container sees it."""
        return self.cluster.run_in(namespace, pod, "cat", path)

    def secret(self, namespace: str, name: str, key: str) -> bytes | None:
        """A key's bytes in a Secret, or nothing while it is not there."""
        found = self.cluster.try_kubectl("get", "secret", name, "-n", namespace, "-o", "json")
        return base64.b64decode(json.loads(found)["data"][key]) if found else None

    def warning(self, namespace: str, pod: str, containing: str, limit: float = 60) -> str:
        """The first event of a pod that has these words, whole."""

        def found():
            for event in self.cluster.events(namespace, pod):
                if containing in event.get("message", ""):
                    return event["message"]
            return None

        try:
            return wait_until(f"an event of {pod} has {containing!r}", found, limit, every=0.3)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.complaints(namespace)}") from None


def digest(content: bytes) -> str:
    """What may be printed of a secret."""
    return hashlib.sha256(content).hexdigest()


def secret_class(name: str, namespace: str, parameters: dict, objects: list[dict], provider: str = "azure-rs",
                 secret_objects: list[dict] | None = None) -> dict:
    """A SecretProviderClass; `objects` as the maps that its parameter lists."""
    entries = "".join(
        "  - |\n" + "".join(f"    {key}: {json.dumps(value)}\n" for key, value in each.items()) for each in objects)
    return {
        "apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClass",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"provider": provider, "parameters": parameters | {"objects": f"array:\n{entries}"}}
        | ({"secretObjects": secret_objects} if secret_objects else {}),
    }


def volume(class_name: str, publish_secret: str | None = None, name: str = "secrets", **attributes: str) -> dict:
    """A pod's volume with the files of a class."""
    csi = {"driver": "secrets-store.csi.k8s.io", "readOnly": True,
           "volumeAttributes": {"secretProviderClass": class_name} | attributes}
    if publish_secret:
        csi["nodePublishSecretRef"] = {"name": publish_secret}
    return {"name": name, "csi": csi}


def pod(name: str, namespace: str, *volumes: dict, script: str = IDLE, account: str = "default",
        labels: dict | None = None, container: dict | None = None, **spec) -> dict:
    """A pod with volumes of classes, the first of them at /mnt/secrets-store."""
    mounts = [
        {"name": each["name"], "mountPath": "/mnt/secrets-store" + (f"-{number}" if number else ""), "readOnly": True}
        for number, each in enumerate(volumes)
    ]
    main = {"name": "app", "image": SHELL, "command": ["/bin/sh", "-c", script], "volumeMounts": mounts}
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "spec": {"serviceAccountName": account, "terminationGracePeriodSeconds": 1, "volumes": list(volumes),
                 "containers": [main | (container or {})]} | spec,
    }
