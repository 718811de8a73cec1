"""Checks what promtool does not: that alerts, dashboard, runbooks and documentation speak of the same things.

    python3 tests/monitoring/check.py

Run by tests/monitoring/run from the root of the repository. Says each thing that is wrong in a line; status 0 only if
there is none.
"""

import json
import re
import sys
from pathlib import Path

import yaml

FILES = Path("charts/csi-secrets-store-provider-azure-rs/files")
RUNBOOKS = Path("docs/runbooks")

# Metrics of others: Prometheus, kube-state-metrics and the kubelet.
FOREIGN = {
    "up",
    "ALERTS",
    "kube_daemonset_status_desired_number_scheduled",
    "kube_daemonset_status_number_ready",
    "kube_pod_container_resource_limits",
    "container_cpu_cfs_periods_total",
    "container_cpu_cfs_throttled_periods_total",
}

# The driver calls again at once, and reaches the provider that takes over.
HARMLESS = {"SHUTTING_DOWN"}

KEYWORDS = set("and or unless by without on ignoring group_left group_right offset bool inf nan".split())

problems = []


def problem(text):
    problems.append(text)


def metrics_of(expression):
    """The names of the metrics in an expression of PromQL."""
    bare = re.sub(r'"(?:\\.|[^"\\])*"', '""', expression)
    bare = re.sub(r"\{[^{}]*\}", "", bare)
    bare = re.sub(r"\[[^\[\]]*\]", "", bare)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)", "", bare)
    names = re.finditer(r"(?<![\w:.])([a-zA-Z_:][\w:]*)\s*(\(?)", bare)
    return {name for name, call in (match.groups() for match in names) if not call and name.lower() not in KEYWORDS}


def documented_metrics():
    rows = re.findall(r"^\| `(\w+)`", Path("docs/metrics.md").read_text(encoding="utf-8"), re.M)
    return set(rows) | {f"{row}_{part}" for row in rows for part in ("bucket", "sum", "count")}


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def check_names(where, expression, known):
    for name in sorted(metrics_of(expression) - known):
        problem(f"{where}: {name} is neither in docs/metrics.md nor another program's")


def check_alerts(known):
    rules = yaml.safe_load((FILES / "alerts.yaml").read_text(encoding="utf-8"))
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    repository = re.search(r'^repository = "(.+)"$', Path("Cargo.toml").read_text(encoding="utf-8"), re.M).group(1)
    index = (RUNBOOKS / "README.md").read_text(encoding="utf-8")
    errors = Path("docs/errors.md").read_text(encoding="utf-8")
    reasons = set(re.findall(r"^\| `([A-Z_]+)` \|", errors, re.M))
    runbooks = dict(re.findall(r"^\| `([A-Z_]+)` \|.*\(runbooks/([\w-]+\.md)\)\) \|$", errors, re.M))
    alerted = {}
    for alert in alerts:
        name = alert["alert"]
        check_names(name, alert["expr"], known)
        if alert["labels"].get("severity") not in ("critical", "warning"):
            problem(f"{name}: severity is neither critical nor warning")
        for annotation in ("summary", "description"):
            if not alert["annotations"].get(annotation):
                problem(f"{name}: no {annotation}")
        url = alert["annotations"].get("runbook_url", "")
        match = re.fullmatch(re.escape(f"{repository}/blob/main/{RUNBOOKS}/") + r"([\w-]+\.md)#([\w-]+)", url)
        if not match:
            problem(f"{name}: runbook_url is no page of {RUNBOOKS} with an anchor: {url}")
        elif not (RUNBOOKS / match[1]).exists():
            problem(f"{name}: there is no {RUNBOOKS / match[1]}")
        else:
            if match[2] != name.lower() or match[2] not in anchors(RUNBOOKS / match[1]):
                problem(f"{name}: {RUNBOOKS / match[1]} has no heading of this name, or the link means another one")
        for words in re.findall(r'reason=~?"([^"]*)"', alert["expr"]):
            for reason in words.split("|"):
                if reason not in reasons:
                    problem(f"{name}: {reason} is not in docs/errors.md")
                elif match and runbooks.get(reason) != match[1]:
                    problem(f"{name}: docs/errors.md leads from {reason} to {runbooks.get(reason)}")
                alerted.setdefault(reason, []).append(name)
    for reason in sorted(reasons - HARMLESS):
        if len(alerted.get(reason, [])) != 1:
            problem(f"reason {reason}: one alert should be about it, found {alerted.get(reason, 'none')}")
    for page in sorted(RUNBOOKS.glob("*.md")):
        if page.name != "README.md" and f"({page.name})" not in index:
            problem(f"{RUNBOOKS}/README.md does not name {page.name}")
        text = page.read_text(encoding="utf-8")
        for name in set(re.findall(r"ProviderAzureRs\w+", text)) - {alert["alert"] for alert in alerts}:
            problem(f"{page}: there is no alert {name}")
        for reason in set(re.findall(r"`((?:KV|ENTRA|IMDS|IDENTITY|TOKEN|POLICY|TLS)_[A-Z_]*[A-Z])`", text)) - reasons:
            problem(f"{page}: {reason} is not in docs/errors.md")
    return [alert["alert"] for alert in alerts]


def check_tests(alerts):
    """Each alert has a moment in its own tests at which it fires, and one at which it does not."""
    tests = yaml.safe_load(Path("tests/monitoring/alerts.test.yaml").read_text(encoding="utf-8"))["tests"]
    for alert in alerts:
        moments = [
            any(f'alertname="{alert}"' in sample["labels"] for sample in moment.get("exp_samples", []))
            for test in tests
            if test["name"].startswith(f"{alert}:")
            for moment in test["promql_expr_test"]
        ]
        if set(moments) != {True, False}:
            problem(f"{alert}: its tests need a moment at which it fires and one at which it does not")
    return len(tests)


def check_dashboard(known):
    dashboard = json.loads((FILES / "dashboard.json").read_text(encoding="utf-8"))
    panels = dashboard["panels"]
    ids = [panel["id"] for panel in panels]
    if len(ids) != len(set(ids)):
        problem("dashboard: two panels have one id")
    taken = {}
    for panel in panels:
        where = f'dashboard, {panel["title"]!r}'
        position = panel["gridPos"]
        if position["x"] + position["w"] > 24:
            problem(f"{where}: is wider than the page")
        for x in range(position["x"], position["x"] + position["w"]):
            for y in range(position["y"], position["y"] + position["h"]):
                other = taken.setdefault((x, y), where)
                if other != where:
                    problem(f"{where}: lies over {other}")
        if panel["type"] == "row":
            continue
        if not panel.get("description"):
            problem(f"{where}: has no description")
        for name in re.findall(r"Runbook: ([\w-]+)", panel["description"]):
            if not (RUNBOOKS / f"{name}.md").exists():
                problem(f"{where}: there is no runbook {name}")
        letters = [target["refId"] for target in panel["targets"]]
        if not letters or len(letters) != len(set(letters)):
            problem(f"{where}: has no query, or two of one letter")
        for target in panel["targets"]:
            if target["datasource"]["uid"] != "${datasource}" or panel["datasource"]["uid"] != "${datasource}":
                problem(f"{where}: asks a data source of its own")
            check_names(where, target["expr"], known)
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    builtin = {"__rate_interval", "1"}
    for name in set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard))) - variables - builtin:
        if name != "__all":
            problem(f"dashboard: there is no variable ${name}")
    return sum(len(panel.get("targets", [])) for panel in panels)


def main():
    known = documented_metrics() | FOREIGN
    alerts = check_alerts(known)
    tests = check_tests(alerts)
    queries = check_dashboard(known)
    for text in problems:
        print(text, file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"{len(alerts)} alerts with {tests} tests, {queries} queries of the dashboard: all about what there is")


if __name__ == "__main__":
    main()
