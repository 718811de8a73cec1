"""Azure: the emulator, under the public cloud's own host names and IMDS's own address, and its control API."""

import json
import urllib.request
from pathlib import Path

import node
from node import Names, Node, wait_until

TENANT = "42ddc44e-97dd-4c3b-bf8a-31c785e24c67"
CONTROL = "http://127.0.0.1:8482"


class Azure:
    """The emulator's process and what it is told."""

    def __init__(self, on: Node, emulator: Path):
        self.node = on
        self.emulator = emulator
        self.ca_file = on.work / "azure-ca.pem"
        self.names = Names()

    def start(self) -> None:
        """Starts it as the only Azure that the cluster can reach."""
        ready = self.node.work / "azure-ready.json"
        self.names.known |= {"login.microsoftonline.com"}
        self.names.start()
        self.node.start("azure-emulator", [
            str(self.emulator), f"--https-listen={node.ADDRESS}:443", f"--imds-listen={node.IMDS}:80",
            f"--control-listen={CONTROL.removeprefix('http://')}", f"--token-proxy-listen={node.ADDRESS}:8443",
            f"--ca-file={self.ca_file}", f"--ready-file={ready}", f"--tenant={TENANT}",
        ])
        wait_until("the emulator listens", ready.exists, every=0.02)
        self.urls = json.loads(ready.read_text())

    def call(self, method: str, path: str, body=None):
        """A call of the control API."""
        request = urllib.request.Request(f"{CONTROL}{path}", method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("content-type", "application/json")
        with urllib.request.urlopen(request, timeout=10) as answer:
            content = answer.read()
        return json.loads(content) if content.startswith((b"{", b"[", b'"')) else content

    def seed(self, seed: dict) -> None:
        """Adds tenants, identities and vaults; the names of vaults have addresses from now on."""
        self.call("POST", "/seed", seed)
        self.names.known |= {f"{vault}.vault.azure.net" for vault in seed.get("vaults", {})}

    def set_secret(self, vault: str, name: str, value: str) -> None:
        """A new version of a secret."""
        self.call("PUT", f"/vaults/{vault}/secrets/{name}", value)

    def allow(self, vault: str, identity: str, permissions: dict | None) -> None:
        """Sets an access policy, or takes it away."""
        path = f"/vaults/{vault}/access/{identity}"
        self.call("DELETE", path) if permissions is None else self.call("PUT", path, permissions)

    def fault(self, target: dict, effect: dict, times: int | None = None) -> None:
        """What goes wrong from now on."""
        self.call("POST", "/faults", {"target": target, "effect": effect} | ({"times": times} if times else {}))

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self.call("DELETE", "/faults")

    def token_proxy_name(self) -> str:
        """The name that TLS knows the token proxy by."""
        return self.urls["tokenProxyServerName"]
