"""4: certificates, keys, histories, aliases, permissions, users and subPath."""

import base64
import time

import driver
import openai
from azure import TENANT
from checks import check, expect
from node import wait_until
from world import World, digest, pod, secret_class, volume

NAMESPACE = "objects"
VAULT = "objects-kv"
BINARY = bytes(range(256))

OBJECTS = [
    {"objectName": "plain", "objectType": "secret", "objectAlias": "folder/renamed"},
    {"objectName": "plain", "objectType": "secret", "objectAlias": "private", "filePermission": "0400"},
    {"objectName": "binary", "objectType": "secret", "objectEncoding": "base64"},
    {"objectName": "often", "objectType": "secret", "objectVersionHistory": 3},
    {"objectName": "signing", "objectType": "key"},
    {"objectName": "web", "objectType": "cert", "objectAlias": "web.cer"},
    {"objectName": "web", "objectType": "secret", "objectAlias": "web.pem"},
    {"objectName": "web", "objectType": "secret", "objectAlias": "web.pfx", "objectFormat": "pfx",
     "objectEncoding": "base64"},
]


@check(4, "certificates, keys, histories, aliases, permissions, fsGroup, subPath")
def objects(world: World) -> None:
    openai.put_in_azure(world)
    everything = {"secrets": ["get", "list"], "keys": ["get", "list"], "certificates": ["get", "list"]}
    world.azure.seed({"vaults": {VAULT: {
        "access": {openai.OBJECT: everything},
        "secrets": {"plain": "first", "binary": base64.b64encode(BINARY).decode(),
                    "often": [{"value": value} for value in ("oldest", "older", "newest")]},
        "keys": {"signing": "P-256"},
        "certificates": {"web": {"subject": "CN=web", "dnsNames": ["web"]}},
    }}})
    world.make_namespace(NAMESPACE)
    user = {"securityContext": {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 2000}}
    by_path = {"volumeMounts": [
        {"name": "secrets", "mountPath": "/mnt/secrets-store", "readOnly": True},
        {"name": "secrets", "mountPath": "/mnt/one", "subPath": "folder/renamed", "readOnly": True},
    ]}
    world.cluster.apply(
        secret_class("objects", NAMESPACE, parameters(), OBJECTS),
        pod("root", NAMESPACE, volume("objects"), container=by_path),
        pod("user", NAMESPACE, volume("objects"), **user),
    )
    world.wait_ready(NAMESPACE, 2)
    contents(world)
    permissions(world)
    sub_path(world)
    world.delete_namespace(NAMESPACE)


def parameters() -> dict:
    """The node's identity."""
    return {"keyvaultName": VAULT, "tenantID": TENANT, "userAssignedIdentityID": openai.CLIENT}


def contents(world: World) -> None:
    """What each file has."""
    read = lambda path: world.read(NAMESPACE, "root", f"/mnt/secrets-store/{path}")
    expect(read("folder/renamed") == b"first", "the alias with a folder")
    expect(read("binary") == BINARY, "256 bytes decoded from base64", digest(read("binary")))
    history = [read(f"often/{number}") for number in range(3)]
    expect(history == [b"newest", b"older", b"oldest"], "three versions, the newest first", history)
    expect(read("signing").startswith(b"-----BEGIN PUBLIC KEY-----"), "a public key in PEM")
    certificate = read("web.cer")
    expect(certificate.startswith(b"-----BEGIN CERTIFICATE-----"), "a certificate in PEM")
    pem = read("web.pem")
    expect(b"-----BEGIN PRIVATE KEY-----" in pem and certificate.strip() in pem, "key and certificate in PEM")
    # A PFX is a DER SEQUENCE of version 3 (RFC 7292, section 4).
    pfx = read("web.pfx")
    expect(pfx[0] == 0x30 and b"\x02\x01\x03" in pfx[:10], "a PFX in binary", pfx[:10].hex())
    world.cluster.quoted(f"kubectl exec -n {NAMESPACE} root -- ls -laR /mnt/secrets-store/..data/")


def permissions(world: World) -> None:
    """What a user who is not root can read."""
    shown = world.cluster.run_in(NAMESPACE, "user", "stat", "-Lc", "%a %u %g", "/mnt/secrets-store/private")
    listing = shown.decode()
    expect(listing.split()[0] == "400", "mode 400", listing)
    readable = world.read(NAMESPACE, "user", "/mnt/secrets-store/folder/renamed")
    expect(readable == b"first", "a file of mode 0644 to be readable for user 1000", digest(readable))
    private = world.cluster.run_in(
        NAMESPACE, "user", "sh", "-c", "cat /mnt/secrets-store/private >/dev/null 2>&1 && echo read || echo refused")
    expect(private.strip() == b"refused", "a file of mode 0400 to be root's alone", private)
    world.note(f"User 1000 with `fsGroup: 2000` reads files of mode 0644; a file with `filePermission: \"0400\"` is"
               f" root's (`stat` says `{listing.strip()}`): the driver does not apply `fsGroup` to its volumes.")


def sub_path(world: World) -> None:
    """A known limit of Kubernetes: what is mounted by subPath does not follow."""
    world.azure.set_secret(VAULT, "plain", "second")
    read = lambda path: world.read(NAMESPACE, "root", path)
    wait_until("the volume has the new value", lambda: read("/mnt/secrets-store/folder/renamed") == b"second",
               4 * driver.ROTATION_SECONDS)
    time.sleep(1)
    expect(read("/mnt/one") == b"first", "the subPath mount to keep what it began with", read("/mnt/one"))
    world.note("A file mounted by `subPath` keeps the value it began with, as Kubernetes documents; the volume beside it"
               " follows.")
