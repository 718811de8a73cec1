"""15, 16, 17: pods are told of their rotations."""

import json
import re
import socket
import textwrap
import time

import node
import openai
import programs
from azure import TENANT
from checks import check, expect
from checks.deployment import application
from cluster import CommandFailed
from driver import ROTATION_SECONDS
from node import wait_until
from provider import NEXT
from world import World, pod, secret_class, volume

NAMESPACE = "told"
VAULT = "told-kv"
# Of a class with a failover vault.
MOVED_VAULT, FAILOVER_VAULT = "told-moved-kv", "told-failover-kv"
NAME = "app"
PODS = 60
CONTROLLER = "provider-azure-rs"
COMPLETE, FAILED, RECOVERED = "SecretRotationComplete", "SecretRotationFailed", "SecretRotationRecovered"
SOURCE = "SecretSourceChanged"
# What the log says of an API server that refuses.
REFUSED = "the API server forbids it"
# A rotation, then the driver writes the status, then the provider sees it there.
LIMIT = 12 * ROTATION_SECONDS


@check(15, "kubectl describe pod tells of a rotation, of one that fails, and that it works again, across updates too",
       limit=420)
def told(world: World) -> None:
    provider = world.providers["azure-rs"]
    set_up(world, pod(NAME, NAMESPACE, volume("key")), secret=True)
    held(world, provider)
    try:
        world.wait_ready(NAMESPACE, 1)
        expect(not ours(world), "no event of the provider at a first mount", ours(world))
        rotates(world)
        changes_its_source(world)
        fails_and_recovers(world, provider)
        across_updates(world, provider)
        if world.driver.own_rotation:
            expect(not ours(world), "no event beside those of the driver", ours(world))
    finally:
        world.azure.heal()
        world.azure.allow(VAULT, openai.OBJECT, {"secrets": ["get"]})
        provider.install()
        tidy(world)


def held(world: World, provider) -> None:
    """The documentation's rule for the API server refuses what a thief of the token may want, and no event of ours."""
    account = f"system:serviceaccount:kube-system:{provider.daemonset}"
    page = (programs.ROOT / "docs/hardening.md").read_text()
    [rule] = [each for each in re.findall(r"```yaml\n(.*?)```", page, re.S) if "ValidatingAdmissionPolicy" in each]
    world.cluster.apply(textwrap.dedent(" " * 2 + rule.strip()).replace(
        "system:serviceaccount:kube-system:csi-secrets-store-provider-azure-rs", account))
    world.cluster.quoted(f"kubectl auth can-i --list --as {account}")
    false = {
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"generateName": "false-", "namespace": NAMESPACE},
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "kubelet", "reportingInstance": "node",
        "action": "Told", "reason": "Told", "type": "Normal", "note": "nobody has said so",
        "regarding": {"apiVersion": "v1", "kind": "Pod", "name": NAME, "namespace": NAMESPACE},
    }

    def refused():
        try:
            world.cluster.kubectl("create", "--as", account, "-f", "-", given=json.dumps(false))
        except CommandFailed as words:
            return str(words)
        return None

    words = wait_until("a false event is refused", refused, 30, every=1)
    expect("writes events of its own" in words, "the rule's words", words)
    for what in ("get secrets", "list pods", "list secretproviderclasspodstatuses", "get secretproviderclasses",
                 "create events", "delete events.events.k8s.io", "create serviceaccounts/token"):
        verb, resource = what.split()
        answer = world.cluster.try_kubectl("auth", "can-i", verb, resource, "--as", account, "-n", NAMESPACE)
        expect(answer.strip() == "no", f"no right to {what}", answer)


def rotates(world: World) -> None:
    """A rotation is told once the pod's status has it, and by one of the two only."""
    before = version(world)
    value = openai.new_value().decode()
    world.azure.set_secret(VAULT, "key", value)
    if world.driver.own_rotation:
        wait_until("the driver tells of it", lambda: {"MountRotationComplete", COMPLETE} <= reasons(world), LIMIT)
        # Long enough for the provider to tell of it, too.
        time.sleep(3 * ROTATION_SECONDS)
        describe(world, "a rotation, told by the driver")
        return
    event = wait_for(world, COMPLETE)
    after = version(world)
    expect(after != before, "the pod's status to have the new version before the event is there", after)
    expect(event["type"] == "Normal", "a Normal event", event["type"])
    for word in ("key", before[:8], after[:8]):
        expect(word in event["message"], f"{word} in the message", event["message"])
    expect(value not in event["message"], "no value in the message")
    describe(world, "a rotation")


def changes_its_source(world: World) -> None:
    """The failover vault and the first one again are no rotation. The same event again is the one that was there."""
    if world.driver.own_rotation:
        return
    world.azure.seed({"vaults": {vault: {
        "access": {openai.OBJECT: {"secrets": ["get"]}}, "secrets": {"key": vault}}
        for vault in (MOVED_VAULT, FAILOVER_VAULT)}})
    world.cluster.apply(
        secret_class("moved", NAMESPACE, {
            "keyvaultName": MOVED_VAULT, "failoverKeyvaultName": FAILOVER_VAULT, "tenantID": TENANT,
            "userAssignedIdentityID": openai.CLIENT,
        }, [{"objectName": "key", "objectType": "secret"}]),
        pod("moved", NAMESPACE, volume("moved")))
    world.wait_ready(NAMESPACE, 2)
    sources = lambda: [count(each) for each in ours(world, "moved") if each["reason"] == SOURCE]
    for is_out_of_order, counts in ((True, [1]), (False, [1, 1]), (True, [1, 2])):
        world.azure.heal()
        if is_out_of_order:
            world.azure.fault({"service": "vault", "vault": MOVED_VAULT}, {"kind": "error", "status": 503})
        wait_until(f"changes of the vault are told, {counts}", lambda: sorted(sources()) == counts, LIMIT)
    world.azure.heal()
    expect(COMPLETE not in {each["reason"] for each in ours(world, "moved")}, "no rotation", ours(world, "moved"))
    describe(world, "changes of the vault", "moved")
    world.cluster.kubectl("delete", "pod", "moved", "-n", NAMESPACE, "--grace-period=1")


def fails_and_recovers(world: World, provider) -> None:
    """A rotation that fails is told with cause and fix, once; across an update of the provider it goes on to fail."""
    world.azure.allow(VAULT, openai.OBJECT, None)
    if world.driver.own_rotation:
        event = wait_for(world, "MountRotationFailed", mine=False)
        expect("KV_ACCESS_DENIED" in event["message"] and "Fix: " in event["message"], "code and fix", event["message"])
        describe(world, "a rotation that fails, told by the driver")
        world.azure.allow(VAULT, openai.OBJECT, {"secrets": ["get"]})
        return
    event = wait_for(world, FAILED)
    expect(event["type"] == "Warning", "a Warning", event["type"])
    for words in ("KV_ACCESS_DENIED", "Fix: az keyvault set-policy", "has failed since"):
        expect(words in event["message"], words, event["message"])
    expect(len(event["message"].encode()) <= 1024, "at most 1,024 bytes", len(event["message"].encode()))
    failures = lambda: provider.metric("provider_azure_rs_mounts_total", 'reason="KV_ACCESS_DENIED"')
    before = failures()
    wait_until("more rotations have failed", lambda: failures() >= before + 3, LIMIT)
    events = [each for each in ours(world, NAME) if each["reason"] == FAILED]
    expect(len(events) == 1 and count(events[0]) == 1, "one event, told once within its time", events)
    describe(world, "a rotation that fails")
    provider.install({"image": {"tag": NEXT}})
    wait_until("the updated provider tells of the failure, too", lambda: sum(
        count(each) for each in ours(world) if each["reason"] == FAILED) >= 2, LIMIT)
    world.azure.allow(VAULT, openai.OBJECT, {"secrets": ["get"]})
    world.azure.set_secret(VAULT, "key", openai.new_value().decode())
    event = wait_for(world, RECOVERED)
    expect(event["type"] == "Normal", "a Normal event", event["type"])
    describe(world, "a rotation that works again")


def across_updates(world: World, provider) -> None:
    """What changes while there is no provider is told by the next one."""
    told_before = sum(count(each) for each in ours(world, NAME) if each["reason"] == COMPLETE)
    provider.uninstall()
    world.azure.set_secret(VAULT, "key", openai.new_value().decode())
    provider.install()
    if not world.driver.own_rotation:
        wait_until("the rotation across the update is told", lambda: sum(
            count(each) for each in ours(world, NAME) if each["reason"] == COMPLETE) > told_before, LIMIT)


@check(16, f"an outage of the vault with {PODS} pods: their events are paced, and mounts go on", limit=420)
def outage(world: World) -> None:
    provider = world.providers["azure-rs"]
    set_up(world, application(PODS, namespace=NAMESPACE))
    try:
        world.wait_ready(NAMESPACE, PODS, limit=180)
        world.azure.fault({"service": "vault", "vault": VAULT}, {"kind": "error", "status": 503})
        failures = lambda: provider.metric("provider_azure_rs_mounts_total", 'reason="KV_UNAVAILABLE"')
        before, began = failures(), time.monotonic()
        requests_before = requests(world)
        wait_until("every pod's rotation has failed several times", lambda: failures() >= before + 3 * PODS, 180)
        seconds = time.monotonic() - began
        events = [each for each in ours(world) if each["reason"] == FAILED]
        sent = requests(world) - requests_before
        world.cluster.quoted(f"kubectl get events -n {NAMESPACE} --field-selector reason={FAILED} | head -4")
        expect(len(events) <= PODS, "one event of each pod at most", len(events))
        if world.driver.own_rotation:
            expect(not events, "no event beside those of the driver", len(events))
        else:
            expect(events, "pods to be told")
        world.note(f"A vault out of order for {PODS} pods: {failures() - before:.0f} rotations failed in {seconds:.0f}"
                   f" s; the provider had written {len(events)} events by then, with {sent:.0f} requests at the API"
                   " server.")
        world.azure.heal()
        world.azure.set_secret(VAULT, "key", "after the outage")
        wait_until("all pods have the new version", lambda: len(versions(world)) == 1, LIMIT)
    finally:
        world.azure.heal()
        tidy(world)


@check(17, "without the right to write events, and at an API server that does not answer, mounts are as fast",
       limit=420)
def not_needed(world: World) -> None:
    provider = world.providers["azure-rs"]
    role = f"{provider.daemonset}-kube-system"
    set_up(world, application(PODS, namespace=NAMESPACE))
    silent = socket.create_server((node.ADDRESS, 7443), backlog=128)
    figures = {}
    try:
        world.wait_ready(NAMESPACE, PODS, limit=180)
        provider.install()
        figures["with its rights"] = remounts(world, provider)
        world.cluster.kubectl("delete", "clusterrolebinding", role)
        figures["without its rights"] = remounts(world, provider)
        if not world.driver.own_rotation:
            wait_until("a line of the log says so", lambda: REFUSED in provider.logs(), LIMIT)
        provider.install({"extraEnv": [
            {"name": "KUBERNETES_SERVICE_HOST", "value": node.ADDRESS},
            {"name": "KUBERNETES_SERVICE_PORT", "value": "7443"},
        ]})
        figures["at an API server that does not answer"] = remounts(world, provider)
        provider.install({"podEvents": {"enabled": False}})
        figures["with podEvents.enabled: false"] = remounts(world, provider)
    finally:
        silent.close()
        provider.install()
        tidy(world)
    usual = figures["with podEvents.enabled: false"]
    world.note(f"Mean of what {PODS} pods' rotations took, each with a new value: " + "; ".join(
        f"{what} {seconds * 1000:.1f} ms" for what, seconds in figures.items()) + ".")
    for what, seconds in figures.items():
        # What waits for the API server would wait for seconds.
        expect(seconds < 3 * usual + 0.02, f"mounts {what} to be as fast", figures)


def remounts(world: World, provider) -> float:
    """The mean of the seconds that mounts take while the secret changes again and again."""
    name = "provider_azure_rs_mount_duration_seconds"
    seconds, mounts = provider.metric(f"{name}_sum"), provider.metric(f"{name}_count")
    made = lambda: provider.metric(f"{name}_count") - mounts
    end = time.monotonic() + 90
    while made() < 3 * PODS:
        expect(time.monotonic() < end, "three rotations of each pod in time", made())
        world.azure.set_secret(VAULT, "key", openai.new_value().decode())
        time.sleep(ROTATION_SECONDS)
    return (provider.metric(f"{name}_sum") - seconds) / made()


def set_up(world: World, *workload: dict, secret: bool = False) -> None:
    """A vault with one secret, its class, and who uses it."""
    openai.put_in_azure(world)
    world.azure.seed({"vaults": {VAULT: {
        "access": {openai.OBJECT: {"secrets": ["get"]}}, "secrets": {"key": "at first"}}}})
    world.make_namespace(NAMESPACE)
    secrets = [{"secretName": "key", "type": "Opaque", "data": [{"objectName": "key", "key": "key"}]}]
    world.cluster.apply(
        secret_class("key", NAMESPACE, {
            "keyvaultName": VAULT, "tenantID": TENANT, "userAssignedIdentityID": openai.CLIENT,
        }, [{"objectName": "key", "objectType": "secret"}], secret_objects=secrets if secret else None), *workload)


def tidy(world: World) -> None:
    """Removes the namespace, which the next check makes again."""
    world.delete_namespace(NAMESPACE)
    world.cluster.kubectl("wait", "--for=delete", f"namespace/{NAMESPACE}", "--timeout=120s")


def describe(world: World, after: str, name: str = NAME) -> None:
    """Keeps for the report what a person sees."""
    command = f"kubectl describe pod {name} -n {NAMESPACE} | sed -n '/^Events:/,$p'"
    world.cluster.quoted(command, f"{command} # after {after}")


def ours(world: World, name: str = "") -> list[dict]:
    """The events that the provider has written in the namespace, those of one pod or of all."""
    events = world.cluster.events(NAMESPACE, name) if name else world.cluster.get("events", "-n", NAMESPACE)["items"]
    return [each for each in events if CONTROLLER in (each.get("reportingComponent") or "")]


def reasons(world: World) -> set[str]:
    """What the pod has been told, by anybody."""
    return {each["reason"] for each in world.cluster.events(NAMESPACE, NAME)}


def count(event: dict) -> int:
    """How often an event was told."""
    return (event.get("series") or {}).get("count") or event.get("count") or 1


def wait_for(world: World, reason: str, mine: bool = True) -> dict:
    """The event of this reason at the pod, once it is there."""
    return wait_until(f"the pod has the event {reason}", lambda: next((
        each for each in world.cluster.events(NAMESPACE, NAME) if each["reason"] == reason
        and (CONTROLLER in (each.get("reportingComponent") or "")) == mine), None), LIMIT, every=0.5)


def version(world: World) -> str:
    """The version that the pod has, by its status."""
    [found] = versions(world)
    return found


def versions(world: World) -> set[str]:
    """The versions that pods have, by their statuses."""
    return {each["version"] for status in world.cluster.get("secretproviderclasspodstatus", "-n", NAMESPACE)["items"]
            for each in status["status"].get("objects", [])}


def requests(world: World) -> float:
    """Requests to write events, of all that do so by the group events.k8s.io."""
    total = 0.0
    for line in world.cluster.kubectl("get", "--raw", "/metrics").splitlines():
        if re.match(r"apiserver_request_total\{", line) and 'group="events.k8s.io"' in line and (
                'verb="POST"' in line or 'verb="PATCH"' in line):
            total += float(line.rsplit(" ", 1)[1])
    return total
