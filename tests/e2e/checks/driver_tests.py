"""11 and 12: the driver's own tests, with this provider behind the driver."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import driver
import programs
from azure import TENANT
from checks import check, expect
from cluster import ISSUER
from world import World

CLIENT = "d41e4000-0000-4000-8000-00000000000e"
VAULT = "secrets-store-csi-e2e"
# It adds a repository of charts, and the provider is there already.
LEFT_OUT = "install azure provider"
# What the driver does not have, in the words of `make sanity-test` in its repository.
SKIPPED = r"Controller|should.work|NodeStageVolume"


@check(11, "the driver's test/bats/azure.bats, with provider: azure as it is", limit=420)
def bats(world: World) -> None:
    world.azure.seed({
        "tenants": {TENANT: {"applications": {CLIENT: {"federatedCredentials": [
            {"issuer": ISSUER, "subject": f"system:serviceaccount:{namespace}:default"}
            for namespace in ("default", "test-ns")
        ]}}}},
        "vaults": {VAULT: {"access": {CLIENT: {"secrets": ["get"]}}, "secrets": {"secret1": "test"}}},
    })
    # One of the tests looks for errors in all that the driver has logged.
    driver.restart(world.cluster)
    folder = world.cluster.node.work / "driver"
    shutil.copytree(world.driver.module.folder / "test", folder / "test")
    file = folder / "test/bats/azure.bats"
    tests, left_out = re.subn(rf'^@test "{LEFT_OUT}" \{{.*?^\}}\n', "", file.read_text(), flags=re.M | re.S)
    expect(left_out == 1, f"a test {LEFT_OUT!r} to leave out")
    file.chmod(0o644)
    file.write_text(tests)
    environment = {
        "PATH": f"{programs.BINARIES}:/usr/bin:/bin", "KUBECONFIG": str(world.cluster.kubeconfig), "HOME": str(folder),
        "IDENTITY_CLIENT_ID": CLIENT, "AZURE_TENANT_ID": TENANT, "KEYVAULT_NAME": VAULT, "TERM": "dumb",
    }
    ran = subprocess.run(["bats", "--tap", str(file)], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                         capture_output=True, text=True)
    world.cluster.quote(f"test/bats/azure.bats, without the test {LEFT_OUT!r}", ran.stdout)
    expect(ran.returncode == 0, "all tests to pass", ran.stdout + ran.stderr)


@check(12, "the tests of the CSI specification (csi-sanity), as the driver runs them", limit=180)
def sanity(world: World) -> None:
    folder = Path("/var/lib/kubelet/pods/sanity")
    folder.mkdir(parents=True)
    environment = os.environ | {
        "CSI_ENDPOINT": "unix:///var/lib/kubelet/plugins/csi-secrets-store/csi.sock", "SANITY_FOLDER": str(folder),
    }
    ran = subprocess.run(
        [str(programs.BINARIES / "csi-sanity"), "-ginkgo.noColor", f"-ginkgo.skip={SKIPPED}"], cwd=folder,
        env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    summary = [line for line in ran.stdout.splitlines() if " Passed | " in line]
    world.cluster.quote(f"csi-sanity -ginkgo.skip='{SKIPPED}', at the driver's socket in the cluster", "\n".join(summary))
    expect(ran.returncode == 0, "all tests to pass", ran.stdout[-3000:])
