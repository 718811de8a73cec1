"""7: a vault that is out of order."""

import openai
import prometheus
from azure import TENANT
from checks import check, expect
from node import wait_until
from world import World, digest, pod, secret_class, volume

NAMESPACE = "outage"
VAULT = "outage-kv"


@check(7, "in an outage of the vault pods keep their files, with --stale-if-error new ones start, and alerts fire")
def outage(world: World) -> None:
    openai.put_in_azure(world)
    world.azure.seed({"vaults": {VAULT: {
        "access": {openai.OBJECT: {"secrets": ["get"]}}, "secrets": {"key": "before the outage"}}}})
    provider = world.providers["azure-rs"]
    provider.install({"cache": {"staleIfError": "1h"}})
    prometheus.start(world.cluster)
    prometheus.scrape(world.cluster, provider.pods()[0])
    world.make_namespace(NAMESPACE)
    world.cluster.apply(
        secret_class("key", NAMESPACE, {
            "keyvaultName": VAULT, "tenantID": TENANT, "userAssignedIdentityID": openai.CLIENT,
        }, [{"objectName": "key", "objectType": "secret"}]),
        pod("old", NAMESPACE, volume("key")),
    )
    world.wait_ready(NAMESPACE, 1)
    try:
        world.azure.fault({"service": "vault", "vault": VAULT}, {"kind": "error", "status": 503})
        from_memory = lambda: provider.metric("provider_azure_rs_outage_answers_total", 'source="memory"')
        before = from_memory()
        wait_until("a rotation is answered from memory", lambda: from_memory() > before, 30)
        content = world.read(NAMESPACE, "old", "/mnt/secrets-store/key")
        expect(content == b"before the outage", "the running pod to keep its file", digest(content))
        world.cluster.apply(pod("new", NAMESPACE, volume("key")))
        world.wait_ready(NAMESPACE, 2)
        content = world.read(NAMESPACE, "new", "/mnt/secrets-store/key")
        expect(content == b"before the outage", "the new pod to have what was there before", digest(content))
        tells(world, provider)
        alert(world, "ProviderAzureRsStaleAnswers")
        without_memory(world, provider)
    finally:
        world.azure.heal()
        prometheus.stop(world.cluster)
        world.delete_namespace(NAMESPACE)
        provider.install()


def tells(world: World, provider) -> None:
    """An operator sees it in the metrics and in the log."""
    path = provider.metrics_path()
    shown = [
        line for line in world.cluster.kubectl("get", "--raw", path).splitlines()
        if line.startswith("provider_azure_rs_outage_answers_total")
        or (line.startswith("provider_azure_rs_requests_total") and 'service="vault"' in line and "5xx" in line)
    ]
    world.cluster.quote(f'kubectl get --raw "{path}" | grep -E "outage_answers_total|vault.*5xx"', "\n".join(shown))
    expect(any("5xx" in line and not line.endswith(" 0") for line in shown), "answers of 5xx to be counted", shown)
    warnings = [line for line in provider.logs().splitlines() if "served what was there so long ago" in line]
    expect(warnings, "a warning in the provider's log")
    command = "kubectl logs -n kube-system daemonset/provider-azure-rs | grep 'served what was there' | tail -1"
    world.cluster.quote(command, warnings[-1])


def alert(world: World, name: str) -> None:
    """An alert of the chart fires."""
    fired = prometheus.wait_for_alert(name)
    world.note(f"The chart's alert `{name}` fired (without its `for`): {fired['annotations']['summary']}.")


def without_memory(world: World, provider) -> None:
    """Without the flag, and after it: running pods keep their files, a new one says why it waits, and then starts."""
    provider.install()
    prometheus.scrape(world.cluster, provider.pods()[0])
    world.cluster.apply(pod("waiting", NAMESPACE, volume("key")))
    world.warning(NAMESPACE, "waiting", "[KV_UNAVAILABLE]")
    failed = lambda: provider.metric("provider_azure_rs_mounts_total", 'reason="KV_UNAVAILABLE"')
    wait_until("rotations fail and are counted", lambda: failed() >= 3, 30)
    alert(world, "ProviderAzureRsAzureUnavailable")
    for name in ("old", "new"):
        content = world.read(NAMESPACE, name, "/mnt/secrets-store/key")
        expect(content == b"before the outage", f"pod {name} to keep its file", digest(content))
    world.azure.heal()
    world.azure.set_secret(VAULT, "key", "after the outage")
    world.wait_ready(NAMESPACE, 3)
    for name in ("old", "new", "waiting"):
        wait_until(f"pod {name} has the new value",
                   lambda: world.read(NAMESPACE, name, "/mnt/secrets-store/key") == b"after the outage", 30)
    world.note("Without the flag, running pods kept their files through failed rotations"
               " (`provider_azure_rs_mounts_total{reason=\"KV_UNAVAILABLE\"}` counts them), a new pod waited with"
               " `KV_UNAVAILABLE`, and all three had the new value once the vault was back.")
