"""The files for Grafana and Prometheus speak of metrics that there are, in shapes that load."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from chappie.guardian.operator.metrics import METRICS
from chappie.guardian.operator.readings import Kind

ROOT = Path(__file__).parents[2]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "dashboards/chappie.json").read_text())
RULES: dict[str, Any] = yaml.safe_load((ROOT / "dashboards/alerts.yml").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
ALERTS: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"]]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]] + [
    rule["expr"] for rule in ALERTS
]
WIDTH = 24
LABELS = {one.name: set(one.labels) | {"job", "instance"} for one in METRICS}


def series() -> dict[str, set[str]]:
    """Every name that a query may use, with its labels."""
    known: dict[str, set[str]] = {"up": {"job", "instance"}}
    for one in METRICS:
        if one.kind is Kind.HISTOGRAM:
            for suffix in ("_bucket", "_sum", "_count"):
                known[one.name + suffix] = LABELS[one.name] | {"le"}
        else:
            known[one.name] = LABELS[one.name]
    return known


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_query_names_metrics_and_labels_that_there_are(expression: str) -> None:
    known = series()
    found = re.findall(
        r"\b(chappie_\w+|up)\b(?:\{([^}]*)\})?", re.sub(r'"[^"]*"', '""', expression)
    )
    assert found, expression
    for name, matchers in found:
        assert name in known, name
        assert set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", matchers)) <= known[name], expression
    used = {name for name, _ in found}
    for by in re.findall(r"by \(([^)]*)\)", expression):
        grouped = {label.strip() for label in by.split(",")}
        assert all(grouped <= known[name] for name in used), expression
    assert expression.count("(") == expression.count(")")
    # Only what counts has a rate, and what counts is not drawn as it stands.
    for name in used - {"up"}:
        rated = re.search(rf"(rate|increase)\({name}\b", expression) is not None
        assert rated == name.endswith(("_total", "_bucket", "_sum", "_count")), expression


def test_the_dashboard_has_what_grafana_asks_of_one() -> None:
    assert DASHBOARD["schemaVersion"] >= 36
    assert DASHBOARD["title"] == DASHBOARD["uid"] == "chappie"
    assert set(DASHBOARD["time"]) == {"from", "to"}
    variables = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    assert len({panel["id"] for panel in PANELS}) == len(PANELS) > 0
    known = {"stat", "timeseries", "state-timeline"}
    for panel in PANELS:
        assert panel["type"] in known
        assert panel["title"]
        assert panel["description"]
        assert {"defaults", "overrides"} <= set(panel["fieldConfig"])
        letters = [target["refId"] for target in panel["targets"]]
        assert letters == sorted(set(letters)) != []
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_every_variable_in_a_query_is_defined() -> None:
    defined = {one["name"] for one in DASHBOARD["templating"]["list"]} | {
        "__rate_interval",
        "__range",
    }
    text = json.dumps(PANELS)
    assert set(re.findall(r"\$\{?(\w+)", text)) <= defined


def test_no_two_panels_overlap_and_none_hangs_over_the_edge() -> None:
    places = [panel["gridPos"] for panel in PANELS]
    for place in places:
        assert place["x"] >= 0
        assert place["x"] + place["w"] <= WIDTH
        assert min(place["y"], place["w"] - 1, place["h"] - 1) >= 0
    for one, other in itertools.combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


def test_every_alert_rule_says_what_is_so_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS) > 0
    for rule in ALERTS:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "action"}
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
        labels = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        for name in re.findall(r"chappie_\w+", rule["expr"]):
            assert labels <= series()[name]
