"""10: the drop-in mode."""

import driver
import openai
from checks import check, expect
from node import wait_until
from world import World, digest

PATH = "/mnt/secrets-store/OPENAI-API-KEY"
# As the Go provider's own chart starts it (v1.8.2).
GO_ARGUMENTS = [
    "--endpoint=unix:///var/run/secrets-store-csi-providers/azure.sock", "--construct-pem-chain=true",
    "--healthz-port=8989", "--healthz-path=/healthz", "--healthz-timeout=5s", "--prometheus-port=8898",
    "--write-cert-and-key-in-separate-files=false", "--cloud-name=AzurePublicCloud", "-v=2",
]


@check(10, "classes of both names are served on one node; azure.sock changes hands under mounted volumes", limit=240)
def drop_in(world: World) -> None:
    openai.put_in_azure(world)
    both_names(world)
    changes_hands(world)


def both_names(world: World) -> None:
    """The two classes of examples/openai, as they are."""
    value = openai.put_in_azure(world)
    for name in ("azure-rs", "azure"):
        pod = restart(world, name)
        found = world.read("default", pod, PATH)
        expect(found == value, f"the class with provider: {name} to give the value", digest(found))
        lines = [line for line in world.providers[name].logs().splitlines() if pod in line]
        expect(lines, f"the provider with --provider-name {name} to have mounted it")
    world.note("`examples/openai/secretproviderclass.yaml` (`provider: azure`, unchanged) was served through"
               " `azure.sock`, `secretproviderclass-azure-rs.yaml` through `azure-rs.sock`, by two releases of the chart on"
               " one node.")


def restart(world: World, name: str) -> str:
    """A new pod of the application, with the class for this name; returns its name."""
    openai.deploy(world, name)
    world.cluster.kubectl("rollout", "restart", "deployment/chat-backend")
    world.cluster.kubectl("rollout", "status", "deployment/chat-backend", "--timeout=60s")
    [running] = world.wait_ready("default", 1, selector="app=chat-backend")
    return running["metadata"]["name"]


def changes_hands(world: World) -> None:
    """The pod notices nothing of who serves azure.sock, nor of nobody doing it for a while."""
    before = openai.put_in_azure(world)
    pod = restart(world, "azure")
    ours = world.providers["azure"]
    served_by = ["this provider"]
    ours.uninstall()
    if world.go_provider:
        # It wants to be told that an identity alone means the node's.
        world.cluster.kubectl("patch", "secretproviderclass", "azure-kv-openai-secret", "--type=merge",
                              "-p", '{"spec": {"parameters": {"useVMManagedIdentity": "true"}}}')
        world.go_provider.install()
        follows(world, pod)
        served_by.append("the Go provider")
        world.go_provider.uninstall()
    else:
        expect(world.read("default", pod, PATH) == before, "the file to stay while nobody serves")
    ours.install({"extraArgs": GO_ARGUMENTS})
    try:
        follows(world, pod)
        served_by.append("this provider with the Go provider's arguments")
    finally:
        ours.install()
    follows(world, pod)
    expect(not any(status["restartCount"] for status in world.cluster.get("pod", pod)["status"]["containerStatuses"]),
           "the application not to have restarted")
    world.note(f"One pod of the class with `provider: azure` was served by {', by '.join(served_by)}, and by this one"
               " again; each time a changed secret arrived, and the pod was never restarted.")


def follows(world: World, pod: str) -> None:
    """A changed secret arrives."""
    value = openai.new_value()
    world.azure.set_secret(openai.VAULT, "OPENAI-API-KEY", value.decode())
    wait_until("the file has the new value", lambda: world.read("default", pod, PATH) == value,
               6 * driver.ROTATION_SECONDS)
