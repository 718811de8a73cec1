"""3: identities other than the node's."""

from azure import TENANT
from checks import check, expect
from cluster import ISSUER
from driver import DRIVERS
from world import World, digest, pod, secret_class, volume

NAMESPACE = "identities"
TEAMS = {"blue": "b1ee0000-0000-4000-8000-00000000000b", "red": "4ed00000-0000-4000-8000-00000000000d"}
BOUND = "b04d0000-0000-4000-8000-00000000000b"
PRINCIPAL = "59000000-0000-4000-8000-000000000059"


@check(3, "workload identity by the pods' own tokens, identity binding, service principal",
       drivers=[each.version for each in DRIVERS.values() if each.tokens_and_refusals])
def identities(world: World) -> None:
    prepare(world)
    own_secrets_only(world)
    binding(world)
    service_principal(world)
    world.delete_namespace(NAMESPACE)


def prepare(world: World) -> None:
    """Each team has a vault, an application and a service account that the application trusts."""
    applications = {
        client: {"federatedCredentials": [{"issuer": ISSUER, "subject": f"system:serviceaccount:{NAMESPACE}:{team}"}]}
        for team, client in TEAMS.items()
    }
    applications[BOUND] = {"identityBindings": [{"namespace": NAMESPACE, "name": "bound"}]}
    applications[PRINCIPAL] = {"secrets": ["of the principal"]}
    vaults = {
        f"{team}-kv": {"access": {client: {"secrets": ["get"]}}, "secrets": {"password": f"the password of {team}"}}
        for team, client in TEAMS.items()
    }
    vaults["shared-kv"] = {
        "access": {each: {"secrets": ["get"]} for each in (BOUND, PRINCIPAL)},
        "secrets": {"password": "a shared password"},
    }
    world.azure.seed({"tenants": {TENANT: {"applications": applications}}, "vaults": vaults})
    world.make_namespace(NAMESPACE)
    world.cluster.apply(*(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": NAMESPACE}}
        for name in (*TEAMS, "bound", "unbound")
    ))


def class_for(name: str, vault: str, **parameters: str) -> dict:
    """A class with the one secret that each vault has."""
    return secret_class(name, NAMESPACE, parameters | {"keyvaultName": vault, "tenantID": TENANT},
                        [{"objectName": "password", "objectType": "secret"}])


def own_secrets_only(world: World) -> None:
    """A pod gets what its own service account may have, whatever its class claims."""
    for team, client in TEAMS.items():
        world.cluster.apply(
            class_for(team, f"{team}-kv", clientID=client),
            pod(team, NAMESPACE, volume(team), account=team),
        )
    # Red says that it is blue's application; then, as itself, it asks blue's vault.
    world.cluster.apply(
        pod("red-as-blue", NAMESPACE, volume("blue"), account="red"),
        class_for("red-at-blue", "blue-kv", clientID=TEAMS["red"]),
        pod("red-at-blue", NAMESPACE, volume("red-at-blue"), account="red"),
    )
    for team in TEAMS:
        world.cluster.kubectl("wait", "--for=condition=Ready", f"pod/{team}", "-n", NAMESPACE, "--timeout=60s")
        found = world.read(NAMESPACE, team, "/mnt/secrets-store/password")
        expect(found == f"the password of {team}".encode(), f"{team} to have its own password", digest(found))
    borrowed = world.warning(NAMESPACE, "red-as-blue", "[ENTRA_NO_FEDERATED_CREDENTIAL]")
    expect(f"system:serviceaccount:{NAMESPACE}:red" in borrowed, "the subject that was presented", borrowed)
    denied = world.warning(NAMESPACE, "red-at-blue", "[KV_ACCESS_DENIED]")
    world.note("Service account `red` with blue's client ID: `ENTRA_NO_FEDERATED_CREDENTIAL`; with its own, at blue's"
               " vault: `KV_ACCESS_DENIED`. Both with the token that the kubelet projected.")
    world.cluster.quote("the event of pod red-as-blue", borrowed.split("desc = ", 2)[-1])
    expect("blue-kv" in denied, "the vault that refused", denied)
    for name in ("red-as-blue", "red-at-blue"):
        world.cluster.kubectl("delete", "pod", name, "-n", NAMESPACE, "--grace-period=0", "--force")


def binding(world: World) -> None:
    """The token proxy of AKS is emulated; the token that it takes is the kubelet's."""
    world.cluster.apply(
        class_for("bound", "shared-kv", clientID=BOUND, useAzureTokenProxy="true"),
        pod("bound", NAMESPACE, volume("bound"), account="bound"),
        pod("unbound", NAMESPACE, volume("bound"), account="unbound"),
    )
    world.cluster.kubectl("wait", "--for=condition=Ready", "pod/bound", "-n", NAMESPACE, "--timeout=60s")
    found = world.read(NAMESPACE, "bound", "/mnt/secrets-store/password")
    expect(found == b"a shared password", "the bound pod to have the password", digest(found))
    refused = world.warning(NAMESPACE, "unbound", "[ENTRA_NO_FEDERATED_CREDENTIAL]")
    expect("az aks identity-binding create" in refused, "the fix for a binding", refused)
    world.cluster.kubectl("delete", "pod", "unbound", "-n", NAMESPACE, "--grace-period=0", "--force")
    world.note("Identity binding: the service account with the binding has its secret, one without gets"
               " `ENTRA_NO_FEDERATED_CREDENTIAL` with the command that binds it (the token proxy is the emulator's).")


def service_principal(world: World) -> None:
    """Its secret comes from the Secret that nodePublishSecretRef names."""
    world.cluster.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "principal", "namespace": NAMESPACE},
         "stringData": {"clientid": PRINCIPAL, "clientsecret": "of the principal"}},
        class_for("principal", "shared-kv"),
        pod("principal", NAMESPACE, volume("principal", "principal")),
    )
    world.cluster.kubectl("wait", "--for=condition=Ready", "pod/principal", "-n", NAMESPACE, "--timeout=60s")
    found = world.read(NAMESPACE, "principal", "/mnt/secrets-store/password")
    expect(found == b"a shared password", "the principal's pod to have the password", digest(found))
    world.note("Service principal: `nodePublishSecretRef` works.")
