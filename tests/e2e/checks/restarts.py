"""6: the provider is restarted, upgraded and killed while pods start."""

import os
import signal
import time

import node
import openai
from azure import TENANT
from checks import check, expect
from provider import NEXT
from world import World, digest, pod, secret_class, volume

NAMESPACE = "restarts"
VAULT = "restarts-kv"
PODS = 30
SECRETS = {f"part-{number}": f"{number}-" + "x" * 20000 for number in range(5)}

# A container that finds anything but all files whole ends in failure at once, and stays so.
WHOLE = "cd /mnt/secrets-store && " + " && ".join(
    f"[ \"$(sha256sum < {name} | cut -c 1-64)\" = {digest(value.encode())} ]" for name, value in SECRETS.items())


@check(6, f"the provider restarts, is upgraded and is killed while {PODS} pods start: all start, none half-written",
       limit=300)
def restarts(world: World) -> None:
    openai.put_in_azure(world)
    world.azure.seed({"vaults": {VAULT: {"access": {openai.OBJECT: {"secrets": ["get"]}}, "secrets": SECRETS}}})
    # So that mounts are under way when the provider goes.
    world.azure.fault({"service": "vault", "vault": VAULT}, {"kind": "delay", "milliseconds": 300})
    provider = world.providers["azure-rs"]
    world.make_namespace(NAMESPACE)
    world.cluster.apply(secret_class("parts", NAMESPACE, {
        "keyvaultName": VAULT, "tenantID": TENANT, "userAssignedIdentityID": openai.CLIENT,
    }, [{"objectName": name, "objectType": "secret"} for name in SECRETS]))
    deeds = {
        "restarted (rollout restart)": lambda: world.cluster.kubectl(
            "rollout", "restart", "-n", "kube-system", f"daemonset/{provider.daemonset}"),
        "upgraded (another image, rolling)": lambda: provider.install(
            {"image": {"tag": NEXT}}, wait=False),
        "killed (SIGKILL)": lambda: kill(world, provider),
        "its pod deleted": lambda: world.cluster.kubectl(
            "delete", "pod", "-n", "kube-system", "--wait=false", "-l",
            f"app.kubernetes.io/instance={provider.daemonset}"),
    }
    try:
        for number, (what, deed) in enumerate(deeds.items()):
            took, refusals = storm(world, f"storm-{number}", deed)
            world.note(f"{what} while {PODS} pods started: all ready after {took:.1f} s, {refusals} failed mounts that"
                       " the kubelet tried again.")
            world.cluster.wait_rolled_out(provider.daemonset)
    finally:
        world.azure.heal()
        world.delete_namespace(NAMESPACE)
        provider.install()


def storm(world: World, name: str, deed) -> tuple[float, int]:
    """Starts the pods, does the deed while they start, and waits for all of them."""
    pods = [
        pod(f"{name}-{number}", NAMESPACE, volume("parts"), labels={"storm": name}, restartPolicy="Never",
            script=f"{WHOLE} || exit 1; trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done")
        for number in range(PODS)
    ]
    began = time.monotonic()
    world.cluster.apply(*pods)
    wait_for_first(world, name)
    deed()
    ready = world.wait_ready(NAMESPACE, PODS, limit=120, selector=f"storm={name}")
    took = time.monotonic() - began
    restarted = [each["metadata"]["name"] for each in ready
                 if any(status["restartCount"] for status in each["status"]["containerStatuses"])]
    expect(not restarted, "no container to have found a half-written volume", restarted)
    events = world.cluster.get("events", "-n", NAMESPACE, "--field-selector", "reason=FailedMount")["items"]
    refusals = sum(
        each.get("count") or 1 for each in events if each["involvedObject"]["name"].startswith(f"{name}-"))
    world.cluster.kubectl("delete", "pods", "-n", NAMESPACE, "-l", f"storm={name}", "--grace-period=1", "--timeout=90s")
    return took, refusals


def wait_for_first(world: World, name: str) -> None:
    """Waits until some mounts are done, so that others are under way."""
    node.wait_until("the first pod is ready", lambda: any(
        map(world.cluster.is_ready, world.cluster.pods(NAMESPACE, f"storm={name}"))), 60, every=0.1)


def kill(world: World, provider) -> None:
    """Ends the process as the kernel does when memory is short."""
    [serving] = provider.pods()
    [running] = serving["status"]["containerStatuses"]
    for process in node.processes("provider-azure-rs"):
        with open(f"/proc/{process}/cgroup", encoding="utf-8") as groups:
            if running["containerID"].removeprefix("containerd://") in groups.read():
                os.kill(process, signal.SIGKILL)
                return
    raise AssertionError("the provider's process is not there")
