"""18: the driver is upgraded in place. The last check of its cluster, which has another driver afterwards."""

import openai
from azure import TENANT
from checks import check, expect, sync
from driver import DRIVERS, ROTATION_SECONDS, WHOLE
from node import wait_until
from world import IDLE, World, digest, pod, secret_class, volume

NAMESPACE = "upgrade"
VAULT = "upgrade-kv"
PODS = 3
KEY = "/mnt/secrets-store/key"
# Looks all the time, and remembers whether the file was ever away or empty.
WATCHING = f"(while :; do [ -s {KEY} ] || echo missing >> /tmp/missing; sleep 0.1; done) & {IDLE}"


@check(18, f"driver v1.5.6 is upgraded to v{WHOLE[0]} in place: pods keep their files, rotation works before and after",
       limit=300, drivers=("1.5.6",))
def upgrade(world: World) -> None:
    openai.put_in_azure(world)
    world.azure.seed({"vaults": {VAULT: {
        "access": {openai.OBJECT: {"secrets": ["get"]}}, "secrets": {"key": "at first"}}}})
    world.make_namespace(NAMESPACE)
    world.cluster.apply(
        secret_class("key", NAMESPACE, {
            "keyvaultName": VAULT, "tenantID": TENANT, "userAssignedIdentityID": openai.CLIENT,
        }, [{"objectName": "key", "objectType": "secret"}], secret_objects=[
            {"secretName": "key", "type": "Opaque", "data": [{"objectName": "key", "key": "key"}]}]),
        *(pod(f"old-{number}", NAMESPACE, volume("key"), script=WATCHING) for number in range(PODS)),
    )
    world.wait_ready(NAMESPACE, PODS)
    running = [f"old-{number}" for number in range(PODS)]
    rotates(world, running, "before the upgrade")
    of_controller = sync.start(world) if world.sync_controller else None

    old, new = world.driver, DRIVERS[WHOLE[0]]
    node = world.cluster.node
    for archive in new.write_images(world.cluster, node.work / "images"):
        node.import_image(archive)
    new.install(world.cluster, instead_of=old)
    world.driver = new
    shown = world.cluster.quoted("kubectl get pods -n kube-system -l app=secrets-store-csi-driver -o"
                                  " jsonpath='{.items[*].spec.containers[*].image}'")
    expect(f"driver:v{new.version}" in shown, "the new driver's image", shown)

    for name in running:
        found = world.read(NAMESPACE, name, KEY)
        expect(found == b"before the upgrade", f"pod {name} to have its file", digest(found))
    world.cluster.apply(pod("new", NAMESPACE, volume("key"), script=WATCHING))
    running.append("new")
    ready = world.wait_ready(NAMESPACE, len(running))
    rotates(world, running, "after the upgrade")
    if of_controller:
        sync.follows(world, "after-the-upgrade")
        sync.stop(world, of_controller)
    restarted = [each["metadata"]["name"] for each in ready
                 if any(status["restartCount"] for status in each["status"]["containerStatuses"])]
    expect(not restarted, "no pod to have restarted", restarted)
    for name in running:
        missed = world.cluster.run_in(NAMESPACE, name, "sh", "-c", "cat /tmp/missing 2>/dev/null | wc -l")
        expect(missed.strip() == b"0", f"the file of pod {name} never to have been away", missed)
    world.note(f"{PODS} pods that looked at their file ten times a second never missed it; files and Secret followed the"
               f" vault with v{old.version} and with v{new.version}, for pods of before and for a new one"
               + (", and so did a SecretSync of the sync controller." if of_controller else "."))
    world.delete_namespace(NAMESPACE)


def rotates(world: World, pods: list[str], value: str) -> None:
    """A changed secret reaches each pod's file, and the Secret."""
    world.azure.set_secret(VAULT, "key", value)
    for name in pods:
        wait_until(f"pod {name} has the new value", lambda: world.read(NAMESPACE, name, KEY) == value.encode(),
                   6 * ROTATION_SECONDS)
    in_secret = lambda: world.secret(NAMESPACE, "key", "key")
    wait_until("the Secret has the new value", lambda: in_secret() == value.encode(), 6 * ROTATION_SECONDS)
