"""Microsoft's own Python clients, unmodified, against azure-emulator.

They are the witness that the emulator speaks as Azure does: they were written for the real service,
by its makers. `run` starts the emulator with seed.json and sets HTTPS_PROXY, the CA and the place of
IMDS; this file only uses the clients as any application would.
"""

import base64
import json
import logging
import os
import sys
import tempfile
import traceback
import urllib.request
from datetime import datetime, timedelta, timezone

from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from azure.identity import (
    ClientSecretCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)
from azure.keyvault.certificates import (
    CertificateClient,
    CertificateContentType,
    CertificatePolicy,
    KeyCurveName,
    WellKnownIssuerNames,
)
from azure.keyvault.keys import KeyClient
from azure.keyvault.secrets import SecretClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12

TENANT = "42ddc44e-97dd-4c3b-bf8a-31c785e24c67"
OWNER = "11111111-aaaa-4aaa-8aaa-111111111111"
POD = "22222222-bbbb-4bbb-8bbb-222222222222"
NOBODY = "33333333-cccc-4ccc-8ccc-333333333333"
IDENTITY = "e502213f-1f15-4f03-9fb4-b546f51aafe9"
VAULT = "https://ai-chat-kv-1763873634.vault.azure.net"
CONTROL = os.environ["AZURE_EMULATOR_CONTROL"]


def control(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        CONTROL + path, data, {"content-type": "application/json"}, method=method
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def owner():
    return ClientSecretCredential(TENANT, OWNER, "right")


def secrets(credential=None, **options):
    return SecretClient(VAULT, credential or owner(), **options)


def refused(error, action):
    """The error of this type that an action raises."""
    try:
        action()
    except error as raised:
        return raised
    raise AssertionError(f"{error.__name__} was not raised")


def check_client_secret():
    assert secrets().get_secret("OPENAI-API-KEY").value == "sk-not-a-real-key"
    wrong = secrets(ClientSecretCredential(TENANT, OWNER, "wrong"))
    error = refused(ClientAuthenticationError, lambda: wrong.get_secret("OPENAI-API-KEY"))
    assert "AADSTS7000215" in error.message, error.message
    nowhere = "99999999-9999-4999-8999-999999999999"
    lost = secrets(ClientSecretCredential(nowhere, OWNER, "right"))
    refused((ClientAuthenticationError, ValueError), lambda: lost.get_secret("OPENAI-API-KEY"))


def check_workload_identity():
    def credential(account):
        token = control("POST", "/service-account-tokens", {"namespace": "chat", "name": account})
        with tempfile.NamedTemporaryFile("w", delete=False) as file:
            file.write(token["token"])
        files.append(file.name)
        return WorkloadIdentityCredential(
            tenant_id=TENANT, client_id=POD, token_file_path=file.name
        )

    files = []
    try:
        assert secrets(credential("backend")).get_secret("OPENAI-API-KEY").value.startswith("sk-")
        stranger = secrets(credential("frontend"))
        error = refused(ClientAuthenticationError, lambda: stranger.get_secret("OPENAI-API-KEY"))
        assert "AADSTS70021" in error.message, error.message
    finally:
        for name in files:
            os.unlink(name)


def check_managed_identity():
    for credential in (ManagedIdentityCredential(client_id=IDENTITY), ManagedIdentityCredential()):
        assert secrets(credential).get_secret("OPENAI-API-KEY").value == "sk-not-a-real-key"
    unknown = secrets(ManagedIdentityCredential(client_id=NOBODY))
    error = refused(ClientAuthenticationError, lambda: unknown.get_secret("OPENAI-API-KEY"))
    assert "Identity not found" in error.message, error.message


def check_secret_versions():
    client = secrets()
    first = client.set_secret("versions", "one", content_type="text/plain", tags={"a": "b"})
    second = client.set_secret(
        "versions", "two", expires_on=datetime(2001, 1, 1, tzinfo=timezone.utc)
    )
    assert client.get_secret("versions").value == "two"
    read = client.get_secret("versions", first.properties.version)
    assert (read.value, read.properties.content_type) == ("one", "text/plain")
    assert read.properties.tags == {"a": "b"}
    newest_first = sorted(
        client.list_properties_of_secret_versions("versions"),
        key=lambda version: version.created_on,
        reverse=True,
    )
    assert [version.version for version in newest_first] == [
        second.properties.version,
        first.properties.version,
    ]
    assert newest_first[0].expires_on.year == 2001


def check_paging():
    client = secrets()
    for number in range(30):
        client.set_secret("paged", str(number))
        client.set_secret(f"paged-{number}", "x")
    pages = list(client.list_properties_of_secret_versions("paged").by_page())
    assert [len(list(page)) for page in pages] == [25, 5]
    names = [one.name for one in client.list_properties_of_secrets(max_page_size=7)]
    assert len(names) == len(set(names)) and len(names) > 30


def check_disabled():
    client = secrets()
    version = client.set_secret("disabled", "x").properties.version
    updated = client.update_secret_properties("disabled", version, enabled=False)
    assert updated.enabled is False
    error = refused(HttpResponseError, lambda: client.get_secret("disabled"))
    assert error.status_code == 403 and error.error.innererror["code"] == "SecretDisabled"
    client.update_secret_properties("disabled", version, enabled=True)
    assert client.get_secret("disabled").value == "x"


def check_deleted_and_recovered():
    client = secrets()
    client.set_secret("deleted", "x")
    deleted = client.begin_delete_secret("deleted").result()
    assert deleted.scheduled_purge_date > deleted.deleted_date
    refused(ResourceNotFoundError, lambda: client.get_secret("deleted"))
    refused(ResourceExistsError, lambda: client.set_secret("deleted", "y"))
    assert "deleted" in [one.name for one in client.list_deleted_secrets()]
    client.begin_recover_deleted_secret("deleted").wait()
    assert client.get_secret("deleted").value == "x"
    client.begin_delete_secret("deleted").wait()
    client.purge_deleted_secret("deleted")
    refused(ResourceNotFoundError, lambda: client.get_deleted_secret("deleted"))


def check_refusals():
    missing = refused(ResourceNotFoundError, lambda: secrets().get_secret("missing"))
    assert missing.error.code == "SecretNotFound", missing
    nobody = secrets(ClientSecretCredential(TENANT, NOBODY, "right"))
    denied = refused(HttpResponseError, lambda: nobody.get_secret("OPENAI-API-KEY"))
    assert denied.status_code == 403 and denied.error.innererror["code"] == "AccessDenied"
    assert "does not have secrets get permission" in denied.message
    control("PUT", "/vaults/ai-chat-kv-1763873634", {"rbac": True})
    denied = refused(HttpResponseError, lambda: nobody.get_secret("OPENAI-API-KEY"))
    assert denied.error.innererror["code"] == "ForbiddenByRbac", denied
    control("PUT", "/vaults/ai-chat-kv-1763873634", {"rbac": False})
    elsewhere = SecretClient("https://no-such-vault.vault.azure.net", owner(), retry_total=0)
    refused(ServiceRequestError, lambda: elsewhere.get_secret("x"))


def check_throttling():
    target = {"service": "vault", "vault": "ai-chat-kv-1763873634", "object": "secrets"}
    control("POST", "/faults", {"target": target, "effect": {"kind": "throttle"}, "times": 1})
    impatient = secrets(retry_total=0)
    throttled = refused(HttpResponseError, lambda: impatient.get_secret("OPENAI-API-KEY"))
    assert throttled.status_code == 429 and throttled.error.code == "Throttled"
    effect = {"kind": "throttle", "retryAfter": 1}
    control("POST", "/faults", {"target": target, "effect": effect, "times": 1})
    assert secrets().get_secret("OPENAI-API-KEY").value, "the client's own retry succeeds"
    assert control("GET", "/faults") == []


def check_token_revoked():
    client = secrets()
    assert client.get_secret("OPENAI-API-KEY").value
    before = control("GET", "/counters")["entra"]["tokensIssued"][OWNER]
    assert client.get_secret("OPENAI-API-KEY").value
    assert control("GET", "/counters")["entra"]["tokensIssued"][OWNER] == before
    control("POST", "/tokens/revoke")
    refused(HttpResponseError, lambda: client.get_secret("OPENAI-API-KEY"))
    assert secrets().get_secret("OPENAI-API-KEY").value


def check_keys():
    client = KeyClient(VAULT, owner())
    rsa = client.create_rsa_key("rsa", size=3072)
    assert (len(rsa.key.n), rsa.key.e) == (384, b"\x01\x00\x01")
    for curve, size in (("P-256", 32), ("P-384", 48), ("P-521", 66), ("P-256K", 32)):
        made = client.create_ec_key("ec", curve=curve)
        read = client.get_key("ec", made.properties.version)
        assert (read.key.crv, len(read.key.x), len(read.key.y)) == (curve, size, size)
        assert read.id == made.id and read.key.x == made.key.x
    assert len(list(client.list_properties_of_key_versions("ec"))) == 4
    assert {"rsa", "ec"} <= {one.name for one in client.list_properties_of_keys()}
    missing = refused(ResourceNotFoundError, lambda: client.get_key("missing"))
    assert missing.error.code == "KeyNotFound"
    client.begin_delete_key("rsa").wait()
    client.begin_recover_deleted_key("rsa").wait()
    assert client.get_key("rsa").key.n == rsa.key.n


def check_certificate_created():
    client = CertificateClient(VAULT, owner())
    policy = CertificatePolicy(
        "Self", subject="CN=chat.test", san_dns_names=["chat.test"], validity_in_months=6
    )
    made = client.begin_create_certificate("made", policy).result()
    certificate = x509.load_der_x509_certificate(bytes(made.cer))
    assert certificate.subject.rfc4514_string() == "CN=chat.test"
    assert made.policy.issuer_name == "Self"
    secret = secrets().get_secret("made")
    assert secret.properties.content_type == "application/x-pkcs12"
    assert secret.properties.key_id == made.key_id
    key, leaf, _ = pkcs12.load_key_and_certificates(base64.b64decode(secret.value), b"")
    assert leaf == certificate and key.public_key() == certificate.public_key()
    published = KeyClient(VAULT, owner()).get_key("made")
    assert int.from_bytes(published.key.n, "big") == key.public_key().public_numbers().n


def check_certificate_imported():
    client = CertificateClient(VAULT, owner())
    policy = CertificatePolicy(
        "Self",
        subject="CN=source",
        key_type="EC",
        key_curve_name=KeyCurveName.p_256,
        content_type=CertificateContentType.pem,
    )
    source = client.begin_create_certificate("source", policy).result()
    pem = secrets().get_secret("source").value.encode()
    key = serialization.load_pem_private_key(pem, None)
    leaf = x509.load_pem_x509_certificate(pem)
    pfx = pkcs12.serialize_key_and_certificates(
        b"name", key, leaf, None, serialization.BestAvailableEncryption(b"password")
    )
    imported = client.import_certificate("from-pfx", pfx, password="password")
    assert imported.cer == source.cer
    imported = client.import_certificate(
        "from-pem", pem, policy=CertificatePolicy("Unknown", content_type="application/x-pem-file")
    )
    assert client.get_certificate("from-pem").cer == source.cer
    assert imported.properties.x509_thumbprint == source.properties.x509_thumbprint
    assert client.get_certificate("from-pem").policy.content_type == "application/x-pem-file"
    assert len(list(client.list_properties_of_certificate_versions("from-pem"))) == 1
    refused(HttpResponseError, lambda: client.import_certificate("bad", pfx, password="wrong"))
    missing = refused(ResourceNotFoundError, lambda: client.get_certificate("missing"))
    assert missing.error.code == "CertificateNotFound"


def check_disabled_key():
    client = KeyClient(VAULT, owner())
    version = client.create_ec_key("switched-off").properties.version
    client.update_key_properties("switched-off", version, enabled=False)
    read = client.get_key("switched-off")
    assert read.properties.enabled is False and read.key.x


def check_certificate_pending_and_merged():
    client = CertificateClient(VAULT, owner())
    policy = CertificatePolicy(WellKnownIssuerNames.unknown, subject="CN=merged")
    operation = client.begin_create_certificate("merged", policy).result()
    assert operation.status == "inProgress" and operation.issuer_name == "Unknown", operation
    pending = client.get_certificate("merged")
    assert not pending.cer and pending.properties.enabled is False
    csr = x509.load_der_x509_csr(bytes(operation.csr))
    authority = rsa.generate_private_key(65537, 2048)
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(csr.subject)
        .issuer_name(x509.Name.from_rfc4514_string("CN=authority"))
        .public_key(csr.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(authority, hashes.SHA256())
    )
    der = certificate.public_bytes(serialization.Encoding.DER)
    merged = client.merge_certificate("merged", [der])
    assert bytes(merged.cer) == der and merged.properties.enabled is True
    key, leaf, _ = pkcs12.load_key_and_certificates(
        base64.b64decode(secrets().get_secret("merged").value), b""
    )
    assert leaf == certificate and key.public_key() == certificate.public_key()


def check_certificate_whose_key_stays():
    client = CertificateClient(VAULT, owner())
    # Without another property of the key, the client leaves `exportable` out.
    policy = CertificatePolicy("Self", subject="CN=stays", key_type="RSA", exportable=False)
    made = client.begin_create_certificate("stays", policy).result()
    assert made.policy.exportable is False
    pfx = base64.b64decode(secrets().get_secret("stays").value)
    key, leaf, others = pkcs12.load_key_and_certificates(pfx, b"")
    assert key is None
    assert bytes(made.cer) in [
        one.public_bytes(serialization.Encoding.DER) for one in [leaf, *others] if one
    ]


def check_versions_of_nothing():
    assert not list(secrets().list_properties_of_secret_versions("nothing"))


def check_recovery_level():
    level = secrets().get_secret("OPENAI-API-KEY").properties.recovery_level
    assert level == "Recoverable+Purgeable", level
    control("PUT", "/vaults/ai-chat-kv-1763873634", {"recovery": {"retentionDays": 7}})
    read = secrets().get_secret("OPENAI-API-KEY").properties
    assert read.recovery_level == "CustomizedRecoverable+Purgeable" and read.recoverable_days == 7
    control("PUT", "/vaults/ai-chat-kv-1763873634", {"recovery": {"retentionDays": 90}})


def check_api_version_of_a_hub():
    control("PUT", "/vaults/hub", {"latestApiVersion": "7.1", "allowEveryone": True})
    control("PUT", "/vaults/hub/secrets/a", "x")
    hub = "https://hub.vault.azure.net"
    refusal = refused(HttpResponseError, lambda: SecretClient(hub, owner()).get_secret("a"))
    assert refusal.status_code == 400 and "latest supported version (7.1)" in refusal.message
    assert SecretClient(hub, owner(), api_version="7.1").get_secret("a").value == "x"


def check_imds_was_asked_directly():
    imds = control("GET", "/counters")["imds"]
    assert imds["requests"] > 0 and imds["viaProxy"] == 0, imds


def main():
    # Refusals are expected here, and the clients log each at length.
    logging.disable(logging.CRITICAL)
    passed = failed = 0
    for name, check in list(globals().items()):
        if not name.startswith("check_"):
            continue
        title = name.removeprefix("check_").replace("_", " ")
        try:
            check()
        except Exception:  # pylint: disable=broad-except
            failed += 1
            print(f"FAILED  {title}")
            traceback.print_exc(file=sys.stdout)
        else:
            passed += 1
            print(f"ok      {title}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
