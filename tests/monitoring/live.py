"""Asks a real Prometheus, which scrapes a real provider, every expression of the alerts and of the dashboard.

    python3 tests/monitoring/live.py PROVIDER EMULATOR PROMETHEUS

The three are binaries. The provider mounts from an emulated Azure in which much is out of order, for ten seconds or so.
Then every expression must be taken, and give data wherever what it looks at has happened here: all of the dashboard's
do. What of the cluster cannot be here (kube-state-metrics, the kubelet) is a page of a few lines. Run by
tests/monitoring/run; everything is on loopback and gone afterwards.
"""

import json
import math
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from check import documented_metrics, metrics_of, FOREIGN

FILES = Path("charts/csi-secrets-store-provider-azure-rs/files").resolve()
TENANT = "42ddc44e-97dd-4c3b-bf8a-31c785e24c67"
IDENTITY = "e502213f-1f15-4f03-9fb4-b546f51aafe9"
WORKLOAD = "9b1d7f0e-0000-4000-8000-000000000001"
POD = "csi-secrets-store-provider-azure-rs-abcde"
DAY = 86400
ROUNDS = 8

# What happens here, and so what these alerts' expressions must find.
HAPPENS = {
    "ProviderAzureRsTargetDown",
    "ProviderAzureRsPodsNotReady",
    "ProviderAzureRsMemoryNearLimit",
    "ProviderAzureRsAccessDenied",
    "ProviderAzureRsIdentityFailing",
    "ProviderAzureRsClassMistake",
    "ProviderAzureRsMountsThrottled",
    "ProviderAzureRsAzureUnavailable",
    "ProviderAzureRsServiceOutOfOrder",
    "ProviderAzureRsLimiterRefusals",
    "ProviderAzureRsStaleAnswers",
    "ProviderAzureRsFailoverAnswers",
    "ProviderAzureRsRotationFailing",
    "ProviderAzureRsExpiresSoon",
    "ProviderAzureRsExpiresVerySoon",
}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def call(method, url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        text = answer.read().decode()
    return json.loads(text) if text.startswith(("{", "[")) else text


def wait_for(what, condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            found = condition()
            if found:
                return found
        except (OSError, ValueError):
            pass
        time.sleep(0.1)
    sys.exit(f"{what}: not within {seconds} s")


class RestOfTheCluster(BaseHTTPRequestHandler):
    """What kube-state-metrics and the kubelet would say."""

    start = time.monotonic()

    def do_GET(self):
        ticks = int((time.monotonic() - self.start) * 10)
        daemonset = 'namespace="kube-system",daemonset="csi-secrets-store-provider-azure-rs"'
        container = f'namespace="kube-system",pod="{POD}",container="provider"'
        page = f"""\
kube_daemonset_status_desired_number_scheduled{{{daemonset}}} 3
kube_daemonset_status_number_ready{{{daemonset}}} 2
kube_pod_container_resource_limits{{{container},resource="memory",unit="byte"}} 1000000
container_cpu_cfs_periods_total{{{container}}} {ticks}
container_cpu_cfs_throttled_periods_total{{{container}}} {ticks // 2}
"""
        self.send_response(200)
        self.send_header("content-type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(page.encode())

    def log_message(self, *_):
        pass


def classes():
    """Name -> namespace, parameters, objects."""

    def of(vault, *objects, namespace="chat", **more):
        return namespace, {"keyvaultName": vault, "tenantID": TENANT, **more}, objects

    node = {"userAssignedIdentityID": IDENTITY}
    return {
        "works": of("kv-works", "plain", "soon", **node),
        "tls": of("kv-works", "later", namespace="web", **node),
        "missing": of("kv-works", "nobody-made-this", **node),
        "denied": of("kv-denied", "plain", **node),
        "identity": of("kv-works", "plain", clientID=WORKLOAD),
        "ill": of("kv-ill", "plain", **node),
        "stale": of("kv-stale", "plain", **node),
        "failover": of("kv-first", "plain", failoverKeyvaultName="kv-works", **node),
        "paused": of("kv-paused", "plain", **node),
        "rotates": of("kv-rotates", "plain", **node),
    }


def seed():
    now = int(time.time())
    secrets = {
        "plain": "value",
        "soon": {"value": "value", "expires": now + 3 * DAY},
        "later": {"value": "value", "expires": now + 20 * DAY},
    }
    vaults = ("works", "denied", "ill", "stale", "first", "paused", "rotates")
    return {
        "tenants": {TENANT: {"applications": {WORKLOAD: {}}}},
        "managedIdentities": [{"clientId": IDENTITY, "objectId": "node"}],
        "vaults": {
            f"kv-{name}": {"access": {} if name == "denied" else {"node": {"secrets": ["get"]}}, "secrets": secrets}
            for name in vaults
        },
    }


class Here:
    """Everything that runs for this test."""

    def __init__(self, folder, provider, emulator, prometheus):
        self.folder, self.provider = folder, provider
        self.processes = []
        self.ports = {name: free_port() for name in ("metrics", "healthz", "prometheus", "nobody")}
        ready = folder / "ready.json"
        (folder / "seed.json").write_text(json.dumps(seed()))
        listen = [f"--{what}-listen=127.0.0.1:0" for what in ("proxy", "https", "imds", "control", "token-proxy")]
        self.start("emulator", emulator, *listen, "--ca-file", folder / "ca.pem", "--seed", folder / "seed.json",
                   "--ready-file", ready, "--json")
        self.urls = wait_for("the emulator", lambda: ready.exists() and json.loads(ready.read_text()))
        for variable in ("NO_PROXY", "no_proxy", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            os.environ.pop(variable, None)
        os.environ |= {"HTTPS_PROXY": self.urls["proxy"], "SSL_CERT_FILE": str(folder / "ca.pem"),
                       "AZURE_POD_IDENTITY_AUTHORITY_HOST": self.urls["imds"]}
        self.endpoint = f"unix://{folder}/azure-rs.sock"
        self.start("provider", provider, "serve", "--endpoint", self.endpoint, "--stale-if-error=1h", "--cache-ttl=500ms",
                   f'--prometheus-port={self.ports["metrics"]}', f'--healthz-port={self.ports["healthz"]}')
        wait_for("the provider", lambda: self.page())
        rest = ThreadingHTTPServer(("127.0.0.1", 0), RestOfTheCluster)
        threading.Thread(target=rest.serve_forever, daemon=True).start()
        # As a PodMonitor has it, with the class's namespace under another name.
        pod = {"namespace": "kube-system", "container": "provider", "endpoint": "metrics"}
        target = lambda port, **labels: {"targets": [f"127.0.0.1:{port}"], "labels": labels}
        (folder / "prometheus.json").write_text(json.dumps({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(FILES / "alerts.yaml")],
            "scrape_configs": [
                {"job_name": "kube-system/csi-secrets-store-provider-azure-rs", "static_configs": [
                    target(self.ports["metrics"], pod=POD, node="node-1", **pod),
                    target(self.ports["nobody"], pod="csi-secrets-store-provider-azure-rs-zzzzz", node="node-2", **pod)]},
                {"job_name": "kube-state-metrics", "honor_labels": True, "static_configs": [target(rest.server_port)]},
            ]}))
        self.start("prometheus", prometheus, "--config.file", folder / "prometheus.json", "--storage.tsdb.path",
                   folder / "tsdb", "--web.listen-address", f'127.0.0.1:{self.ports["prometheus"]}', "--log.level=warn")
        wait_for("Prometheus", lambda: self.ask("query", query="up"))

    def start(self, name, *command):
        with open(self.folder / f"{name}.log", "wb") as log:
            process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.processes.append(process)

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def page(self):
        return call("GET", f'http://127.0.0.1:{self.ports["metrics"]}/metrics')

    def control(self, method, path, body=None):
        return call(method, self.urls["control"] + path, body)

    def ask(self, what, **parameters):
        """Of Prometheus' API; an expression that it does not take is a ValueError."""
        url = f'http://127.0.0.1:{self.ports["prometheus"]}/api/v1/{what}?{urllib.parse.urlencode(parameters)}'
        try:
            return call("GET", url)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(error.read().decode()) from error

    def mount(self, name):
        """Whether the class mounts."""
        namespace, parameters, objects = classes()[name]
        manifest = self.folder / f"{name}.yaml"
        if not manifest.exists():
            entries = "".join(f"      - |\n        objectName: {one}\n        objectType: secret\n" for one in objects)
            # JSON is YAML. The class's name is in what the driver sends, beside the parameters.
            # With its pod's UID, which its path has too, its volume is known when it is mounted again.
            parameters = {"secretProviderClass": name, "csi.storage.k8s.io/pod.uid": name,
                          "objects": "array:\n" + entries, **parameters}
            manifest.write_text(json.dumps({
                "apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClass",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"provider": "azure-rs", "parameters": parameters}}))
        command = [self.provider, "mount", manifest, "--target", self.folder / "volumes" / name, "--endpoint", self.endpoint,
                   "--pod-name", f"{name}-0", "--service-account", name]
        if "clientID" in parameters:
            command += ["--token-file", self.folder / "token"]
        return subprocess.run([str(part) for part in command], capture_output=True, timeout=120).returncode == 0

    def happen(self):
        """Mounts, of which all but some fail, round by round."""
        token = self.control("POST", "/service-account-tokens", {"namespace": "chat", "name": "identity"})
        (self.folder / "token").write_text(token["token"] if isinstance(token, dict) else token.strip())
        (self.folder / "volumes").mkdir()
        for name in ("works", "tls", "stale", "rotates"):
            if not self.mount(name):
                sys.exit(f"{name} should mount:\n" + (self.folder / "provider.log").read_text())
        time.sleep(1.5)
        for vault in ("ill", "stale", "first"):
            self.control("POST", "/faults", {"target": {"service": "vault", "vault": f"kv-{vault}"},
                                             "effect": {"kind": "error", "status": 503}})
        self.control("POST", "/faults", {"target": {"service": "vault", "vault": "kv-paused"},
                                         "effect": {"kind": "throttle", "retryAfter": 300}})
        self.control("DELETE", "/vaults/kv-rotates/access/node")
        mounts = {"works": True, "tls": True, "stale": True, "failover": True}
        names = list(classes()) + ["works"]
        with ThreadPoolExecutor(4) as pool:
            for _ in range(ROUNDS):
                for name, mounted in zip(names, pool.map(self.mount, names)):
                    if mounted != mounts.get(name, False):
                        sys.exit(f"{name}: mounted is {mounted}\n" + (self.folder / "provider.log").read_text())
                time.sleep(1.2)


def dashboards_expressions():
    """Where each is, and what it is with every variable at All."""
    dashboard = json.loads((FILES / "dashboard.json").read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield f'panel {panel["title"]!r} {target["refId"]}', target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield f'annotation {annotation["name"]!r}', annotation["expr"]
    for variable in dashboard["templating"]["list"]:
        definition = variable.get("definition", "")
        if match := re.fullmatch(r"query_result\((.*)\)", definition):
            yield f'variable {variable["name"]!r}', match[1]
        elif match := re.fullmatch(r"label_values\((\w+), (\w+)\)", definition):
            yield f'variable {variable["name"]!r}', f'{match[1]}{{{match[2]}!=""}}'


def filled(expression, namespace=".*"):
    return expression.replace("$node", ".*").replace("$namespace", namespace).replace("$__rate_interval", "1m")


def main():
    provider, emulator, prometheus = (Path(path).resolve() for path in sys.argv[1:])
    served = documented_metrics() | FOREIGN
    problems, found, quiet = [], 0, []
    with tempfile.TemporaryDirectory(prefix="monitoring-") as name:
        here = None
        try:
            here = Here(Path(name), provider, emulator, prometheus)
            here.happen()
            time.sleep(2.5)
            rules = [rule for group in here.ask("rules")["groups"] for rule in group["rules"]]
            asked = [(where, filled(expression)) for where, expression in dashboards_expressions()]
            asked += [
                (f"{where} of a namespace", filled(expression, "chat"))
                for where, expression in dashboards_expressions()
                if "$namespace" in expression
            ]
            # Nothing has restarted here, and there is no API server.
            needed = {where for where, _ in asked if not where.startswith("annotation")}
            needed -= {"panel 'Events at pods' A"}
            asked += [(rule["name"], rule["query"]) for rule in rules]
            needed |= HAPPENS
            for unknown in HAPPENS - {rule["name"] for rule in rules}:
                problems.append(f"there is no alert {unknown}")
            for where, expression in asked:
                try:
                    samples = here.ask("query", query=expression)["result"]
                except ValueError as error:
                    problems.append(f"{where}: {error}\n    {expression}")
                    continue
                if where.endswith("of a namespace") and {sample["metric"]["namespace"] for sample in samples} - {"chat"}:
                    problems.append(f"{where}: has others, too\n    {expression}")
                numbers = [float(sample["value"][1]) for sample in samples]
                if any(math.isfinite(number) for number in numbers):
                    found += 1
                elif where not in needed:
                    quiet.append(where)
                elif metrics_of(expression) <= served:
                    problems.append(f"{where}: no data\n    {expression}")
                else:
                    quiet.append(where)
            for rule in rules:
                if rule["health"] != "ok":
                    problems.append(f'{rule["name"]}: {rule["health"]} {rule.get("lastError", "")}')
                for alert in rule["alerts"]:
                    if "class" in alert["labels"] and alert["labels"]["namespace"] not in ("chat", "web"):
                        problems.append(f'{rule["name"]}: not the namespace of a class: {alert["labels"]}')
                    for text in alert["annotations"].values():
                        if "<no value>" in text or "<error" in text:
                            problems.append(f'{rule["name"]}: {text}')
        finally:
            if here:
                here.stop()
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"{len(asked)} expressions, all taken; {found} found data, and nothing of the kind happened for: {', '.join(quiet)}")


main()
