"""13: the sync controller, which has no pods, beside the driver."""

import sync_controller
from azure import TENANT
from checks import LeftOut, check, expect
from cluster import ISSUER
from node import wait_until
from provider import Provider
from world import World, digest, pod, secret_class, volume

NAMESPACE = "sync"
VAULT = "sync-kv"
CLIENT = "5c0c0000-0000-4000-8000-00000000000c"


@check(13, "the Secrets Store Sync Controller beside the driver: a SecretSync has its Secret, or says why not")
def sync(world: World) -> None:
    provider = start(world)
    parameters = {"keyvaultName": VAULT, "tenantID": TENANT, "clientID": CLIENT}
    world.cluster.apply(
        secret_class("missing", NAMESPACE, parameters, [{"objectName": "not-there", "objectType": "secret"}]),
        secret_sync("missing", "not-there"), pod("beside", NAMESPACE, volume("synced"), account="reader"))
    refused = wait_until("a condition has the provider's message", lambda: next((
        each for each in conditions(world, "missing") if "[KV_OBJECT_NOT_FOUND]" in each["message"]), None))
    expect((refused["status"], refused["reason"]) == ("False", "ProviderError"), "False, ProviderError", refused)
    expect("Fix: " in refused["message"], "a fix", refused["message"])
    world.cluster.quoted(
        f"kubectl get secretsync missing -n {NAMESPACE}"
        " -o jsonpath='{.status.conditions[?(@.reason==\"ProviderError\")].message}'")
    world.wait_ready(NAMESPACE, 1)
    follows(world, "second")
    found = wait_until("the pod has the same value", lambda: world.read(
        NAMESPACE, "beside", "/mnt/secrets-store/key") == b"second")
    expect(found, "the pod beside it to have the value")
    world.note("A SecretSync with workload identity had its Secret, and after `spec.forceSynchronization` the changed"
               " value; one of a secret that is not there has `KV_OBJECT_NOT_FOUND` with its fix in its condition.")
    stop(world, provider)


def start(world: World) -> Provider:
    """The controller with a provider of its own, and a SecretSync that has its Secret."""
    if not world.sync_controller:
        raise LeftOut("no source of the sync controller was given")
    world.azure.seed({
        "tenants": {TENANT: {"applications": {CLIENT: {"federatedCredentials": [
            {"issuer": ISSUER, "subject": f"system:serviceaccount:{NAMESPACE}:reader"}]}}}},
        "vaults": {VAULT: {"access": {CLIENT: {"secrets": ["get"]}}, "secrets": {"key": "first"}}},
    })
    node = world.cluster.node
    values = world.providers["azure-rs"].values | {"providersDir": sync_controller.PROVIDERS}
    provider = Provider(world.cluster, "azure-rs", values, release="provider-sync")
    provider.install()
    world.sync_controller.install(node, node.work / "images")
    world.make_namespace(NAMESPACE)
    world.cluster.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": NAMESPACE}},
        secret_class("synced", NAMESPACE, {"keyvaultName": VAULT, "tenantID": TENANT, "clientID": CLIENT},
                     [{"objectName": "key", "objectType": "secret"}]),
        secret_sync("synced", "key"))
    wait_until("the Secret has the value", lambda: synced(world) == b"first")
    return provider


def stop(world: World, provider: Provider) -> None:
    """Ends both, and waits for the namespace to be gone."""
    world.delete_namespace(NAMESPACE)
    world.cluster.kubectl("wait", "--for=delete", f"namespace/{NAMESPACE}", "--timeout=60s")
    world.sync_controller.uninstall()
    provider.uninstall()


def secret_sync(name: str, file: str) -> dict:
    """A SecretSync of a class of its name."""
    return {
        "apiVersion": "secret-sync.x-k8s.io/v1alpha1", "kind": "SecretSync",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"serviceAccountName": "reader", "secretProviderClassName": name, "secretObject": {
            "type": "Opaque", "data": [{"sourcePath": file, "targetKey": "key"}]}},
    }


def conditions(world: World, name: str) -> list[dict]:
    """What a SecretSync says of itself."""
    return world.cluster.get("secretsync", name, "-n", NAMESPACE).get("status", {}).get("conditions", [])


def synced(world: World) -> bytes | None:
    """What the controller has put into the Secret."""
    return world.secret(NAMESPACE, "synced", "key")


def follows(world: World, value: str) -> None:
    """A changed secret arrives once the SecretSync asks for it."""
    world.azure.set_secret(VAULT, "key", value)
    world.cluster.kubectl("patch", "secretsync", "synced", "-n", NAMESPACE, "--type=merge",
                          "-p", f'{{"spec": {{"forceSynchronization": "{value}"}}}}')
    wait_until(f"the Secret has the changed value, {digest(value.encode())[:12]}",
               lambda: synced(world) == value.encode())
