"""The application of examples/openai: what is in Azure for it, and its Deployment."""

import secrets as random

import programs
from world import World

VAULT = "ai-chat-kv-1763873634"
CLIENT = "e502213f-1f15-4f03-9fb4-b546f51aafe9"
OBJECT = "301f31b4-678d-4ace-a057-c5ddf471a810"
CLASSES = {
    "azure": programs.ROOT / "examples/openai/secretproviderclass.yaml",
    "azure-rs": programs.ROOT / "examples/openai/secretproviderclass-azure-rs.yaml",
}


def put_in_azure(world: World) -> bytes:
    """The vault, its access policy and the secret; returns the secret's value."""
    value = new_value()
    world.azure.seed({
        "managedIdentities": [{"clientId": CLIENT, "objectId": OBJECT}],
        "vaults": {VAULT: {
            "access": {OBJECT: {"secrets": ["get", "list"]}},
            "secrets": {"OPENAI-API-KEY": value.decode()},
        }},
    })
    return value


def new_value() -> bytes:
    """Something like an API key that is none."""
    return f"sk-not-a-key-{random.token_hex(24)}".encode()


def synced(world: World) -> bytes:
    """What the driver has put into the Secret."""
    return world.secret("default", "kv-openai-secret", "OPENAI_API_KEY")


def deploy(world: World, provider: str) -> None:
    """The class for this provider, unchanged, and a Deployment that uses its file, Secret and variable."""
    labels = {"app": "chat-backend"}
    serve = "mkdir /tmp/www && echo ok > /tmp/www/health && exec httpd -f -p 8000 -h /tmp/www"
    world.cluster.apply(CLASSES[provider], {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "chat-backend", "namespace": "default"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [
                    {
                        "name": "chat-backend",
                        "image": "gabby.azurecr.io/chat-backend:latest",
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["/bin/sh", "-c", serve],
                        "env": [{"name": "OPENAI_API_KEY", "valueFrom": {
                            "secretKeyRef": {"name": "kv-openai-secret", "key": "OPENAI_API_KEY"}}}],
                        "readinessProbe": {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 1},
                        "volumeMounts": [
                            {"name": "secrets-store", "mountPath": "/mnt/secrets-store", "readOnly": True}],
                    },
                    # In production its pods have a second container, which has nothing to do with secrets.
                    {"name": "beside", "image": "docker.io/library/busybox:1", "command": ["/bin/sleep", "1000000"]},
                ],
                "volumes": [{"name": "secrets-store", "csi": {
                    "driver": "secrets-store.csi.k8s.io", "readOnly": True,
                    "volumeAttributes": {"secretProviderClass": "azure-kv-openai-secret"}}}],
            }},
        },
    })
