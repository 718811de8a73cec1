"""10: the drop-in mode."""

import openai
from checks import check, expect
from world import World, digest


@check(10, "classes of both names are served on one node, and a name changes hands under mounted volumes")
def drop_in(world: World) -> None:
    cluster = world.cluster
    value = openai.put_in_azure(world)
    for name in ("azure", "azure-rs"):
        openai.deploy(world, name)
        cluster.kubectl("rollout", "restart", "deployment/chat-backend")
        cluster.kubectl("rollout", "status", "deployment/chat-backend", "--timeout=60s")
        [running] = world.wait_ready("default", 1, selector="app=chat-backend")
        pod = running["metadata"]["name"]
        found = world.read("default", pod, "/mnt/secrets-store/OPENAI-API-KEY")
        expect(found == value, f"the class with provider: {name} to give the value", digest(found))
        lines = [line for line in world.providers[name].logs().splitlines() if pod in line]
        expect(lines, f"the provider with --provider-name {name} to have mounted it")
    world.note("`examples/openai/secretproviderclass.yaml` (`provider: azure`, unchanged) was served through `azure.sock`,"
               " `secretproviderclass-azure-rs.yaml` through `azure-rs.sock`, by two releases of the chart on one node.")
