"""8: the policy of namespaces."""

import time

import openai
from azure import TENANT
from checks import check, expect
from world import World, pod, secret_class, volume

VAULT = "team-kv"
RULES = [
    {"name": "chat-reads-its-vault", "namespaces": ["team-chat"], "vaults": [VAULT], "objects": ["secret/OPENAI-*"]},
]


@check(8, "a pod in another namespace is refused, with the name of the rule")
def policy(world: World) -> None:
    openai.put_in_azure(world)
    world.azure.seed({"vaults": {VAULT: {
        "access": {openai.OBJECT: {"secrets": ["get"]}}, "secrets": {"OPENAI-KEY": "x", "DB-PASSWORD": "y"}}}})
    provider = world.providers["azure-rs"]
    provider.install({"policy": {"rules": RULES}})
    try:
        for namespace in ("team-chat", "team-other"):
            world.make_namespace(namespace)
            for name, wanted in (("allowed", "OPENAI-KEY"), ("denied", "DB-PASSWORD")):
                world.cluster.apply(
                    secret_class(name, namespace, {
                        "keyvaultName": VAULT, "tenantID": TENANT, "userAssignedIdentityID": openai.CLIENT,
                    }, [{"objectName": wanted, "objectType": "secret"}]),
                    pod(name, namespace, volume(name)),
                )
        world.cluster.kubectl("wait", "--for=condition=Ready", "pod/allowed", "-n", "team-chat", "--timeout=60s")
        by_object = world.warning("team-chat", "denied", "[POLICY_DENIED]")
        expect("chat-reads-its-vault, does not fit by its objects" in by_object, "the rule and its field", by_object)
        by_namespace = world.warning("team-other", "allowed", "[POLICY_DENIED]")
        expect("chat-reads-its-vault, does not fit by its namespaces" in by_namespace, "the rule and its field",
               by_namespace)
        world.cluster.quote("the event of pod allowed in namespace team-other", by_namespace.split("desc = ", 2)[-1])
        follows(world, provider)
    finally:
        for namespace in ("team-chat", "team-other"):
            world.delete_namespace(namespace)
        provider.install()


def follows(world: World, provider) -> None:
    """A rule that is added lets the pod start, without a restart of the provider."""
    more = RULES + [{"name": "other-team", "namespaces": ["team-other"], "vaults": [VAULT]}]
    [serving] = provider.pods()
    began = time.monotonic()
    provider.install({"policy": {"rules": more}})
    world.cluster.kubectl("wait", "--for=condition=Ready", "pod/allowed", "-n", "team-other", "--timeout=120s")
    [still] = provider.pods()
    expect(still["metadata"]["uid"] == serving["metadata"]["uid"], "the same pod of the provider as before")
    world.note(f"A rule for the other namespace in the chart's values let its pod start {time.monotonic() - began:.0f} s"
               " later, without a restart of the provider.")
