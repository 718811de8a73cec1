"""2: rotation."""

import time

import driver
import openai
from checks import check, expect
from node import wait_until
from world import World, digest

# The kubelet asks the driver again every 5 s, half as long again at the most; the driver passes it on when its interval
# is over. Then the Secret follows by another of the driver's loops.
LIMIT = 4 * driver.ROTATION_SECONDS


@check(2, "a secret that changes in the vault reaches file and Secret", drivers=driver.DRIVERS)
def rotation(world: World) -> None:
    cluster = world.cluster
    openai.put_in_azure(world)
    openai.deploy(world, "azure")
    [running] = world.wait_ready("default", 1, selector="app=chat-backend")
    name = running["metadata"]["name"]
    before = version(world, name)
    link_before = target(world, name)
    told_before = told(world, name)

    value = openai.new_value()
    began = time.monotonic()
    world.azure.set_secret(openai.VAULT, "OPENAI-API-KEY", value.decode())
    path = "/mnt/secrets-store/OPENAI-API-KEY"
    wait_until("the file has the new value", lambda: world.read("default", name, path) == value, LIMIT)
    file_took = time.monotonic() - began
    wait_until("the Secret has the new value", lambda: openai.synced(world) == value, LIMIT)
    secret_took = time.monotonic() - began
    after = wait_until("the pod's status names the new version",
                       lambda: (now := version(world, name)) != before and now, LIMIT)
    expect(target(world, name) != link_before, "..data to lead to another folder", link_before)
    world.note(f"With --rotation-poll-interval={driver.ROTATION_SECONDS}s the file had the new value after"
               f" {file_took:.1f} s, the Secret after {secret_took:.1f} s (sha256 {digest(value)[:12]}…).")
    world.note(f"The version in SecretProviderClassPodStatus went from `{before}` to `{after}`.")
    if world.driver.own_rotation:
        events_at_the_pod(world, name, told_before)
    metrics = wait_until("the driver counts the rotation", lambda: [
        line for line in cluster.kubectl("get", "--raw", driver_metrics(world)).splitlines()
        if line.startswith(world.driver.rotations) and "false" not in line], 30)
    cluster.quote(f'kubectl get --raw "{driver_metrics(world)}" | grep ^{world.driver.rotations}', "\n".join(metrics))
    events = cluster.get("events", "-n", "default", "--field-selector", "type=Warning")["items"]
    about = [each["message"] for each in events if "rotat" in each["message"].lower()]
    expect(not about, "no warning about the rotation", about)


def events_at_the_pod(world: World, pod: str, before: dict[str, int]) -> None:
    """The driver's own events, which it has as long as it rotates by itself."""
    reasons = ("MountRotationComplete", "SecretRotationComplete")
    wait_until("the pod has both events of this rotation", lambda: all(
        told(world, pod).get(reason, 0) > before.get(reason, 0) for reason in reasons), LIMIT)
    shown = world.cluster.quoted(f"kubectl describe pod {pod} | grep RotationComplete")
    expect("successfully rotated K8s secret kv-openai-secret" in shown, "the Secret's name in its event", shown)
    world.note("`kubectl describe pod` shows the driver's events `MountRotationComplete` and `SecretRotationComplete`.")


def told(world: World, pod: str) -> dict[str, int]:
    """How often the pod has had an event, by its reason."""
    return {event["reason"]: event.get("count") or 1 for event in world.cluster.events("default", pod)}


def version(world: World, pod: str) -> str:
    """The secret's version that the driver says the pod has."""
    [status] = [
        each["status"] for each in world.cluster.get("secretproviderclasspodstatus", "-n", "default")["items"]
        if each["status"]["podName"] == pod
    ]
    return status["objects"][0]["version"]


def target(world: World, pod: str) -> bytes:
    """The folder behind the volume's links, which changes as a whole."""
    return world.cluster.run_in("default", pod, "readlink", "/mnt/secrets-store/..data")


def driver_metrics(world: World) -> str:
    """The path at the API server that leads to the driver's metrics."""
    [pod] = world.cluster.pods("kube-system", "app=secrets-store-csi-driver")
    return f"/api/v1/namespaces/kube-system/pods/{pod['metadata']['name']}:8095/proxy/metrics"
