"""Prometheus, with the chart's alerts, which do not wait here before they fire."""

import json
import re
import urllib.request

import provider
from cluster import Cluster
from node import wait_until

ADDRESS = "127.0.0.1:9090"


def start(cluster: Cluster) -> None:
    """Starts it; it looks every second at what `scrape` says."""
    folder = cluster.node.work / "prometheus"
    folder.mkdir()
    alerts = (provider.CHART / "files/alerts.yaml").read_text()
    (folder / "alerts.yaml").write_text(re.sub(r"^ *for: .*\n", "", alerts, flags=re.M))
    (folder / "prometheus.yaml").write_text(json.dumps({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "alerts.yaml")],
        "scrape_configs": [{
            "job_name": provider.CHART.name,
            # Debian's Prometheus does not know Kubernetes.
            "file_sd_configs": [{"files": [str(folder / "targets.json")]}],
        }],
    }))
    cluster.node.start("prometheus", [
        "prometheus", f"--config.file={folder / 'prometheus.yaml'}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={ADDRESS}"])


def scrape(cluster: Cluster, pod: dict) -> None:
    """From now on it looks at this pod of the provider."""
    target = {"targets": [f"{pod['status']['podIP']}:8898"],
              "labels": {"pod": pod["metadata"]["name"], "node": pod["spec"]["nodeName"]}}
    fresh = cluster.node.work / "prometheus/targets.partial"
    fresh.write_text(json.dumps([target]))
    fresh.rename(fresh.with_name("targets.json"))


def stop(cluster: Cluster) -> None:
    """Ends it."""
    cluster.node.stop("prometheus")


def wait_for_alert(name: str) -> dict:
    """An alert, once it fires."""

    def firing():
        try:
            with urllib.request.urlopen(f"http://{ADDRESS}/api/v1/alerts", timeout=5) as answer:
                alerts = json.load(answer)["data"]["alerts"]
        except OSError:
            return None
        return next((each for each in alerts if each["labels"]["alertname"] == name), None)

    return wait_until(f"the alert {name} fires", firing, 45, every=0.5)
