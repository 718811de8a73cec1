"""5: failures, as `kubectl describe pod` shows them, and pods that start by themselves once the cause is gone."""

import time
from dataclasses import dataclass
from typing import Callable

import openai
from azure import TENANT
from checks import check, expect
from cluster import ISSUER
from world import World, pod, secret_class, volume

NAMESPACE = "failures"
VAULT = "failures-kv"
APP = "5a1d0000-0000-4000-8000-000000000005"
MANAGED = {"userAssignedIdentityID": openai.CLIENT}


@dataclass(frozen=True)
class Case:
    """Something that is wrong, how the message begins and ends, and what puts it right in Azure."""

    name: str
    reason: str
    code: str
    cause: str
    fix: str
    parameters: dict
    mend: Callable[[World], None]
    object: str = "key"
    vault: str = VAULT
    publish_secret: str | None = None
    account: str = "default"


CASES = [
    Case(
        "access-denied", "KV_ACCESS_DENIED", "PermissionDenied", 'refused "get" on secret "key"',
        f"az keyvault set-policy --name denying-kv --object-id {openai.OBJECT} --secret-permissions get",
        MANAGED, lambda world: world.azure.allow("denying-kv", openai.OBJECT, {"secrets": ["get"]}),
        vault="denying-kv",
    ),
    Case(
        "identity-not-assigned", "IDENTITY_NOT_ASSIGNED", "FailedPrecondition", "e2020000-0000-4000-8000-000000000404",
        "identityProfile.kubeletidentity.clientId",
        {"userAssignedIdentityID": "e2020000-0000-4000-8000-000000000404"},
        lambda world: world.azure.call("POST", "/identities", {
            "clientId": "e2020000-0000-4000-8000-000000000404", "objectId": openai.OBJECT}),
    ),
    Case(
        "role-missing", "KV_RBAC_DENIED", "PermissionDenied", "role-kv", "Key Vault Secrets User", MANAGED,
        lambda world: world.azure.allow("role-kv", openai.OBJECT, {"secrets": ["get"]}), vault="role-kv",
    ),
    Case(
        "firewall", "KV_FIREWALL_DENIED", "PermissionDenied", "firewall-kv", "az keyvault network-rule add", MANAGED,
        lambda world: world.azure.call("PUT", "/vaults/firewall-kv", {"firewall": False}), vault="firewall-kv",
    ),
    Case(
        "secret-missing", "KV_OBJECT_NOT_FOUND", "NotFound", "not-there-yet", "", MANAGED,
        lambda world: world.azure.set_secret(VAULT, "not-there-yet", "x"), object="not-there-yet",
    ),
    Case(
        "secret-disabled", "KV_OBJECT_DISABLED", "FailedPrecondition", "disabled", "--enabled true", MANAGED,
        lambda world: world.azure.call("POST", f"/vaults/{VAULT}/secrets/disabled/latest/enable"), object="disabled",
    ),
    Case(
        "vault-unknown", "KV_HOST_NOT_FOUND", "FailedPrecondition", "unknown-kv", "", MANAGED,
        lambda world: world.azure.seed({"vaults": {"unknown-kv": {
            "access": {openai.OBJECT: {"secrets": ["get"]}}, "secrets": {"key": "x"}}}}),
        vault="unknown-kv",
    ),
    Case(
        "vault-ill", "KV_UNAVAILABLE", "FailedPrecondition", "ill-kv", "", MANAGED, lambda world: world.azure.heal(),
        vault="ill-kv",
    ),
    Case(
        "vault-busy", "KV_THROTTLED", "FailedPrecondition", "busy-kv", "", MANAGED, lambda world: world.azure.heal(),
        vault="busy-kv",
    ),
    Case(
        "not-federated", "ENTRA_NO_FEDERATED_CREDENTIAL", "Unauthenticated", "system:serviceaccount:failures:federated",
        "az identity federated-credential create", {"clientID": APP},
        lambda world: world.azure.call("PUT", f"/tenants/{TENANT}/applications/{APP}", {"federatedCredentials": [
            {"issuer": ISSUER, "subject": f"system:serviceaccount:{NAMESPACE}:federated"}]}),
        account="federated",
    ),
    Case(
        "client-secret-wrong", "ENTRA_BAD_CLIENT_SECRET", "Unauthenticated", APP, "az ad app credential reset", {},
        lambda world: world.azure.call("PUT", f"/tenants/{TENANT}/applications/{APP}", {"secrets": ["in the Secret"]}),
        publish_secret="principal",
    ),
]


@check(5, "failures are seen in kubectl describe pod with code, cause and fix; mended, the pods start", limit=240)
def failures(world: World) -> None:
    prepare(world)
    for case in CASES:
        world.cluster.apply(
            secret_class(case.name, NAMESPACE, case.parameters | {"keyvaultName": case.vault, "tenantID": TENANT},
                         [{"objectName": case.object, "objectType": "secret"}]),
            pod(case.name, NAMESPACE, volume(case.name, case.publish_secret), account=case.account),
        )
    for case in CASES:
        shown(world, case)
    began = time.monotonic()
    for case in CASES:
        case.mend(world)
    world.wait_ready(NAMESPACE, len(CASES), limit=150)
    world.note(f"Mended in Azure alone, all {len(CASES)} pods were ready {time.monotonic() - began:.0f} s later, by the"
               " kubelet's own attempts (the time between them doubles).")
    # A failure whose gRPC code the kubelet takes for unfinished work would let a driver from v1.6 on start the pod without files.
    for case in CASES:
        listing = world.cluster.run_in(NAMESPACE, case.name, "ls", "/mnt/secrets-store")
        expect(listing.split() == [case.object.encode()], f"pod {case.name} to have its file", listing)
    world.delete_namespace(NAMESPACE)


def prepare(world: World) -> None:
    """What works in Azure, and what does not yet."""
    openai.put_in_azure(world)
    reader = {openai.OBJECT: {"secrets": ["get"]}, APP: {"secrets": ["get"]}}
    secret = {"key": "x"}
    world.azure.seed({
        "tenants": {TENANT: {"applications": {APP: {"secrets": ["another one"]}}}},
        "vaults": {
            VAULT: {"access": reader, "secrets": secret | {"disabled": "x"}},
            "denying-kv": {"secrets": secret},
            "role-kv": {"rbac": True, "secrets": secret},
            "firewall-kv": {"firewall": True, "access": reader, "secrets": secret},
            "ill-kv": {"access": reader, "secrets": secret},
            "busy-kv": {"access": reader, "secrets": secret},
        },
    })
    world.azure.call("POST", f"/vaults/{VAULT}/secrets/disabled/latest/disable")
    world.azure.fault({"service": "vault", "vault": "ill-kv"}, {"kind": "error", "status": 503})
    world.azure.fault({"service": "vault", "vault": "busy-kv"}, {"kind": "throttle", "retryAfter": 1})
    world.make_namespace(NAMESPACE)
    world.cluster.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "federated", "namespace": NAMESPACE}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "principal", "namespace": NAMESPACE},
         "stringData": {"clientid": APP, "clientsecret": "in the Secret"}},
    )


def shown(world: World, case: Case) -> None:
    """The event has the whole message, and `describe` prints it in one line."""
    message = world.warning(NAMESPACE, case.name, f"[{case.reason}]")
    expect(f"code = {case.code} desc = [{case.reason}]" in message, f"gRPC code {case.code}", message)
    expect(case.cause in message, f"the cause to name {case.cause!r}", message)
    expect("Fix: " in message, "a fix", message)
    expect(case.fix in message.split("Fix: ")[1], f"the fix to have {case.fix!r}", message)
    described = world.cluster.kubectl("describe", "pod", case.name, "-n", NAMESPACE)
    lines = [line for line in described.splitlines() if f"[{case.reason}]" in line]
    expect(any(line.endswith(message.splitlines()[-1]) for line in lines), "describe to print the whole message",
           described[-2000:])
    world.cluster.quote(
        f"kubectl describe pod {case.name} -n {NAMESPACE} | grep -o 'err: rpc.*' | tail -1",
        "err: rpc" + lines[-1].split("err: rpc", 1)[1])
