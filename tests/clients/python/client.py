"""Calls a provider's socket as a Python program does, by gRPC's C core: client.py CASES SOCKET...

CASES is what cases.py writes. The messages are made from proto/service.proto by `run`.
"""

import json
import sys

import grpc
import service_pb2
import service_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

# Ways to name the same socket to the C core.
SPELLINGS = ["unix:", "unix://"]
SECONDS = 60


def check(cases, target):
    """All calls on one channel with default settings, the mounts of a round at once."""
    with grpc.insecure_channel(target) as channel:
        provider = service_pb2_grpc.CSIDriverProviderStub(channel)
        version = provider.Version(service_pb2.VersionRequest(version="v1alpha1"), timeout=SECONDS)
        assert version.runtime_name == "provider-azure-rs" and version.version == "v1alpha1", version
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        assert health.status == health_pb2.HealthCheckResponse.SERVING, health
        for number in range(cases["rounds"]):
            calls = [(case, provider.Mount.future(request(case), timeout=SECONDS)) for case in cases["mounts"]]
            for index, (case, call) in enumerate(calls):
                check_answer(f"Mount {index} of round {number}", case, call)


def request(case):
    return service_pb2.MountRequest(
        attributes=case["attributes"],
        secrets=case["secrets"],
        permission=case["permission"],
        target_path="/var/lib/kubelet/pods/0b1c2d3e/volumes/kubernetes.io~csi/secrets/mount",
    )


def check_answer(name, case, call):
    if "code" in case:
        assert call.code().name == case["code"], f"{name}: {call.code()} {call.details()}"
        assert call.details().startswith(case["message"]), f"{name}: {call.details()}"
        return
    answer = call.result()
    files = {file.path: file.contents.decode() for file in answer.files}
    assert files == case["files"], f"{name}: {sorted(files)}"
    assert answer.object_version, name


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = json.load(file)
    failed = False
    for socket in sys.argv[2:]:
        for spelling in SPELLINGS:
            name = f"grpcio {grpc.__version__}, {spelling}, {socket!r}"
            try:
                check(cases, spelling + socket)
            except AssertionError as error:
                failed = True
                print(f"FAILED {name}: {error}")
            except grpc.RpcError as error:
                failed = True
                print(f"FAILED {name}: {error.code()}: {error.details()}")
            else:
                print(f"ok     {name}")
    sys.exit(failed)


main()
