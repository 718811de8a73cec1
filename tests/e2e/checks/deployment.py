"""14: what many pods of one application ask of the vault."""

import time

import openai
from azure import TENANT
from checks import check, expect
from driver import ROTATION_SECONDS
from node import wait_until
from world import SHELL, World, secret_class, volume

NAMESPACE = "deployment"
VAULT = "deployment-kv"
PODS = 60
OBJECTS = 5
# Below the interval of the driver, as the documentation wants it.
CACHE = f"{ROTATION_SECONDS - 1}s"


@check(14, f"{PODS} pods of one Deployment share what they ask of the vault: at start, at each sync, after a change",
       limit=480)
def deployment(world: World) -> None:
    openai.put_in_azure(world)
    world.azure.seed({"vaults": {VAULT: {
        "access": {openai.OBJECT: {"secrets": ["get"]}},
        "secrets": {f"secret-{number}": "at first" for number in range(OBJECTS)},
    }}})
    provider = world.providers["azure-rs"]
    figures = {}
    try:
        for name, values in {"as installed": {}, f"with cache.ttl {CACHE}": {"cache": {"ttl": CACHE}}}.items():
            provider.install(values)
            figures[name] = measured(world, provider, name)
    finally:
        provider.install()
    alone = PODS * OBJECTS
    plain, kept = figures.values()
    # Those share that come while the vault is being asked: few where the machine is slow, none where the driver syncs one
    # volume after the other, also while the last pods start.
    for what in () if world.driver.own_rotation else ("start", "sync", "change"):
        expect(plain[what] <= 3 * alone / 4, f"three quarters of {alone} requests at most at the {what}", plain)
    expect(kept["sync"] <= alone / 2, f"half of {alone} requests at most at a sync from memory", kept)
    rows = ["| | " + " | ".join(figures) + " | without sharing |", "|---" * (len(figures) + 2) + "|"]
    for what, title in {"start": "all start", "sync": "all are synced once, nothing has changed",
                        "change": "all are synced once, one object has changed"}.items():
        cells = (f"{figure[what]:.0f}" for figure in figures.values())
        rows.append(f"| {title} | " + " | ".join(cells) + f" | {alone} |")
    world.note(f"Requests to the vault for a Deployment of {PODS} pods with {OBJECTS} secrets each, counted by the"
               " emulator:\n\n" + "\n".join(rows) + "\n")


def measured(world: World, provider, value: str) -> dict[str, float]:
    """Requests to the vault: when the pods start, at one sync of all, and at one after a change."""
    world.make_namespace(NAMESPACE)
    world.cluster.apply(secret_class("key", NAMESPACE, {
        "keyvaultName": VAULT, "tenantID": TENANT, "userAssignedIdentityID": openai.CLIENT,
    }, [{"objectName": f"secret-{number}", "objectType": "secret"} for number in range(OBJECTS)]), application(PODS))
    mounts = lambda: provider.metric("provider_azure_rs_mounts_total", 'code="OK"')
    world.azure.call("DELETE", "/counters")
    before = mounts()
    world.wait_ready(NAMESPACE, PODS, limit=180)
    # The first are synced before the last have started.
    figures = {"start": requests(world) * PODS / (mounts() - before)}
    figures["sync"] = syncs(world, mounts)
    before = versions(world)
    world.azure.set_secret(VAULT, "secret-0", value)
    figures["change"] = syncs(world, mounts)
    wait_until("all pods have the new version", lambda: not versions(world) & before, 6 * ROTATION_SECONDS)
    world.delete_namespace(NAMESPACE)
    world.cluster.kubectl("wait", "--for=delete", f"namespace/{NAMESPACE}", "--timeout=120s")
    return figures


def requests(world: World) -> int:
    """Requests to the vault since the counters began."""
    return world.azure.call("GET", "/counters")["vaults"].get(VAULT, {}).get("requests", 0)


def syncs(world: World, mounts) -> float:
    """Requests of as many mounts as there are pods, by the mean of three rounds."""
    rounds = 3
    world.azure.call("DELETE", "/counters")
    before, end = mounts(), time.monotonic() + 60
    while (made := mounts() - before) < rounds * PODS:
        expect(time.monotonic() < end, f"{rounds} syncs of all pods within a minute", made)
        time.sleep(0.5)
    return requests(world) * PODS / made


def versions(world: World) -> set[str]:
    """The versions of the first object that the pods have."""
    return {
        each["version"] for status in world.cluster.get("secretproviderclasspodstatus", "-n", NAMESPACE)["items"]
        for each in status["status"].get("objects", []) if each["id"] == "secret/secret-0"
    }


def application(replicas: int, name: str = "app", namespace: str = NAMESPACE, class_name: str = "key") -> dict:
    """A Deployment whose pods have the volume and idle."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{
                    "name": "app", "image": SHELL, "command": ["/bin/sleep", "1000000"],
                    "volumeMounts": [{"name": "secrets", "mountPath": "/mnt/secrets-store", "readOnly": True}],
                }],
                "volumes": [volume(class_name)],
            },
        }},
    }
