"""1: the application of examples/openai, as it is in production."""

import json

import openai
from checks import check, expect
from driver import DRIVERS
from node import wait_until
from world import World, digest


@check(1, "the application of examples/openai runs with its class as it is (provider: azure)", drivers=DRIVERS)
def application(world: World) -> None:
    value = openai.put_in_azure(world)
    openai.deploy(world, "azure")
    reproduce(world, value)


def reproduce(world: World, value: bytes) -> None:
    """Every line of "Validation Results", by the command that gave it."""
    cluster = world.cluster
    [running] = world.wait_ready("default", 1, selector="app=chat-backend")
    name = running["metadata"]["name"]
    pods = cluster.quoted("kubectl get pods -l app=chat-backend")
    expect("2/2" in pods and "Running" in pods, "READY 2/2 and STATUS Running", pods)

    exec_in = f"kubectl exec {name} -c chat-backend --"
    listing = cluster.quoted(f"{exec_in} ls -la /mnt/secrets-store/")
    expect("OPENAI-API-KEY -> ..data/OPENAI-API-KEY" in listing, "a link to ..data/OPENAI-API-KEY", listing)
    content = world.read("default", name, "/mnt/secrets-store/OPENAI-API-KEY")
    expect(content == value, f"the vault's bytes, sha256 {digest(value)}", f"sha256 {digest(content)}")
    world.note(f"`/mnt/secrets-store/OPENAI-API-KEY` has the vault's {len(value)} bytes, compared by SHA-256.")

    secret = cluster.quoted("kubectl get secret kv-openai-secret")
    expect(secret.splitlines()[1].split()[:3] == ["kv-openai-secret", "Opaque", "1"], "Opaque with 1 key", secret)
    expect(openai.synced(world) == value, "the Secret to have the vault's bytes")

    says = (exec_in + " sh -c 'echo \"OPENAI_API_KEY is set:"
            " $([ -n \"$OPENAI_API_KEY\" ] && echo YES || echo NO)\"'")
    answer = cluster.quoted(says)
    expect(answer.strip() == "OPENAI_API_KEY is set: YES", "OPENAI_API_KEY is set: YES", answer)
    environment = cluster.run_in("default", name, "sh", "-c", 'printf %s "$OPENAI_API_KEY"')
    expect(environment == value, "the variable to have the vault's bytes")

    logs = "kubectl logs -n kube-system -l app=csi-secrets-store-provider-azure --tail=50"
    lines = wait_until("the provider's log has the mount", lambda: [
        line for line in cluster.kubectl(*logs.split()[1:]).splitlines() if name in line], 10)
    cluster.quote(f"{logs} | grep {name} | tail -1", lines[-1])

    usage = json.loads(cluster.kubectl("get", "secretproviderclasspodstatus", "-o", "json"))["items"]
    expect([each["status"]["mounted"] for each in usage] == [True], "one SecretProviderClassPodStatus, mounted")
    cluster.quoted("kubectl get secretproviderclasspodstatus")
    cluster.quoted("kubectl get pods -n kube-system -l app=secrets-store-csi-driver")
