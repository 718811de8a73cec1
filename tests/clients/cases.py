"""Writes what all clients ask for: seed.json for the emulator, cases.json for the clients, both into the folder named.

The mounts differ in size: from a few bytes to an answer above the 64 KiB that a peer takes before it has to say more,
and two that are refused, so that a status arrives in trailers alone.
"""

import json
import pathlib
import sys

TENANT = "42ddc44e-97dd-4c3b-bf8a-31c785e24c67"
CLIENT_ID = "e502213f-1f15-4f03-9fb4-b546f51aafe9"
OBJECT_ID = "301f31b4-678d-4ace-a057-c5ddf471a810"
VAULT = "ai-chat-kv-1763873634"
SECRETS = {f"SECRET-{number}": f"value-{number}-" * number for number in range(1, 9)} | {"LARGE": "0123456789abcdef" * 1500}


def mount(objects, **outcome):
    """A request with these (name, alias) pairs, and what must come of it."""
    entries = "".join(
        f"  - |\n    objectName: {name}\n    objectType: secret\n    objectAlias: {alias}\n" for name, alias in objects
    )
    attributes = {
        "csi.storage.k8s.io/pod.name": "chat-backend-0",
        "csi.storage.k8s.io/pod.namespace": "chat",
        "csi.storage.k8s.io/pod.uid": "0b1c2d3e",
        "csi.storage.k8s.io/serviceAccount.name": "chat",
        "csi.storage.k8s.io/ephemeral": "true",
        "secretProviderClass": "chat",
        "keyvaultName": VAULT,
        "tenantId": TENANT,
        "userAssignedIdentityID": CLIENT_ID,
        "objects": "array:\n" + entries,
    }
    return {"attributes": json.dumps(attributes), "secrets": "{}", "permission": "420"} | outcome


def mounted(objects):
    return mount(objects, files={alias: SECRETS[name] for name, alias in objects})


mounts = [mounted([(name, name.lower())]) for name in SECRETS]
mounts.append(mounted([("LARGE", f"large/{number}") for number in range(10)]))
mounts.append(mount([("ABSENT", "absent")], code="NOT_FOUND", message="[KV_OBJECT_NOT_FOUND]"))
mounts.append(mount([("SECRET-1", "../outside")], code="INVALID_ARGUMENT", message="[INVALID_PARAMETER]"))

seed = {
    "tenants": {TENANT: {}},
    "managedIdentities": [{"clientId": CLIENT_ID, "objectId": OBJECT_ID}],
    "vaults": {VAULT: {"access": {OBJECT_ID: {"secrets": ["get"]}}, "secrets": SECRETS}},
}

folder = pathlib.Path(sys.argv[1])
(folder / "seed.json").write_text(json.dumps(seed), encoding="utf-8")
(folder / "cases.json").write_text(json.dumps({"rounds": 5, "mounts": mounts}), encoding="utf-8")
