"""9: a node starts, with a hundred pods at once."""

import os
import time
from pathlib import Path

import driver
import node
from azure import TENANT
from checks import check, expect
from world import World, pod, secret_class, volume

NAMESPACE = "storm"
VAULT = "storm-kv"
PODS = 100
# By provider: nobody has a token yet.
IDENTITIES = {"azure-rs": "50000000-0000-4000-8000-000000000001", "azure": "50000000-0000-4000-8000-000000000002"}


@check(9, f"{PODS} pods at once", limit=600)
def storm(world: World) -> None:
    # Its rotations would be counted too.
    world.cluster.kubectl("delete", "deployment", "chat-backend", "--ignore-not-found", "--cascade=foreground")
    world.azure.seed({
        "managedIdentities": [{"clientId": client, "objectId": client} for client in IDENTITIES.values()],
        "vaults": {VAULT: {
            "access": {client: {"secrets": ["get"]} for client in IDENTITIES.values()},
            "secrets": {f"secret-{number}": "x" * 100 for number in range(5)},
        }},
    })
    world.make_namespace(NAMESPACE)
    figures = {"this provider": measured(world, "azure-rs", "provider-azure-rs")}
    if world.go_provider:
        ours = world.providers["azure"]
        ours.uninstall()
        try:
            world.go_provider.install()
            figures["the Go provider"] = measured(world, "azure", world.go_provider.program)
        finally:
            world.go_provider.uninstall()
            ours.install()
    rows = ["| | " + " | ".join(figures) + " |", "|---" * (len(figures) + 1) + "|"]
    rows += [f"| {what} | " + " | ".join(figure[what] for figure in figures.values()) + " |"
             for what in next(iter(figures.values()))]
    world.note(f"{PODS} pods with a class of 5 secrets, in one `kubectl apply`. Those that run are"
               f" rotated every {driver.ROTATION_SECONDS} s meanwhile:\n\n" + "\n".join(rows) + "\n")
    world.delete_namespace(NAMESPACE)


def measured(world: World, name: str, program: str) -> dict[str, str]:
    """Starts the pods, and tells what that took."""
    cluster = world.cluster
    cluster.apply(secret_class(name, NAMESPACE, {
        "keyvaultName": VAULT, "tenantID": TENANT, "useVMManagedIdentity": "true",
        "userAssignedIdentityID": IDENTITIES[name],
    }, [{"objectName": f"secret-{number}", "objectType": "secret"} for number in range(5)], provider=name))
    pods = [pod(f"{name}-{number}", NAMESPACE, volume(name), labels={"storm": name}) for number in range(PODS)]
    process = serving(name, program)
    world.azure.call("DELETE", "/counters")
    cpu_before = cpu_seconds(process)
    began = time.monotonic()
    cluster.apply(*pods)
    ready = world.wait_ready(NAMESPACE, PODS, limit=240, selector=f"storm={name}")
    took = time.monotonic() - began
    cpu, memory = cpu_seconds(process) - cpu_before, peak_memory(process)
    counters = world.azure.call("GET", "/counters")
    restarted = [each["metadata"]["name"] for each in ready
                 if any(status["restartCount"] for status in each["status"]["containerStatuses"])]
    expect(not restarted, "no restarts", restarted)
    cluster.kubectl("delete", "pods", "-n", NAMESPACE, "-l", f"storm={name}", "--grace-period=1", "--timeout=180s")
    return {
        "all ready after": f"{took:.1f} s",
        "CPU time of the provider": f"{cpu:.2f} s",
        "its most memory (VmHWM)": f"{memory:.1f} MiB",
        "requests to the vault": str(counters["vaults"][VAULT]["requests"]),
        "requests to IMDS": str(counters["imds"]["requests"]),
        "connections to the vault": str(counters["connections"]["tlsByHost"].get(f"{VAULT}.vault.azure.net", 0)),
    }


def serving(name: str, program: str) -> int:
    """The process of this program that serves the name; the Go provider is not told a name."""
    told = f"PROVIDER_AZURE_RS_PROVIDER_NAME={name}".encode()
    [found] = [
        process for process in node.processes(program)
        if told in (variables := Path(f"/proc/{process}/environ").read_bytes().split(b"\0"))
        or not any(each.startswith(b"PROVIDER_AZURE_RS_") for each in variables)
    ]
    return found


def cpu_seconds(process: int) -> float:
    """CPU time of a process so far (proc(5): utime and stime)."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_memory(process: int) -> float:
    """The most MiB that it has had in RAM."""
    status = Path(f"/proc/{process}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024
