"""The alerts as a resource of the Prometheus operator. Run it after a change of the rules:

python -m tests.deploy.prometheus_rule
"""

import textwrap

from tests.deploy.cluster import KUBERNETES, ROOT

RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
RESOURCE = KUBERNETES / "components" / "monitoring" / "rules.yaml"
HEAD = """\
# Made of deploy/prometheus/rules.yaml by `python -m tests.deploy.prometheus_rule`: change that one.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: overbook, namespace: overbook}
spec:
"""


def made() -> str:
    """Return the resource that holds the rules of now."""
    return HEAD + textwrap.indent(RULES.read_text(), "  ")


if __name__ == "__main__":
    RESOURCE.write_text(made())
