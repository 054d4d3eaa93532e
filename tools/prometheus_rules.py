"""Write the rules of Prometheus as objects of its operator: `python -m tools.prometheus_rules`.

Kustomize cannot put a file into an object of an operator's, and a rule's own `{{ $value }}` keeps
Jinja from including it. So the rules stand twice, and a test compares them.
"""

from pathlib import Path

TEMPLATE = Path(__file__).resolve().parents[1] / "template"
RULES = "deploy/monitoring/prometheus/rules"
COMPONENTS = "deploy/kubernetes/components"
OF_COMPOSE = ("watching",)
"""Rules for the programs that compose starts to watch; a cluster watches its own."""

HEAD = """\
# Made from {source}, for the operator.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {name}
spec:
"""


def written(directory: Path = TEMPLATE) -> dict[str, str]:
    """Give the objects' files, by their paths in a service.

    Args:
        directory: what has the rules.
    """
    files = {}
    for source in sorted((directory / RULES).glob("*.yml")):
        if source.stem in OF_COMPOSE:
            continue
        component = "worker-monitoring" if source.stem == "worker" else "monitoring"
        groups = source.read_text("utf-8").partition("\ngroups:\n")[2].splitlines()
        lines = "".join(f"  {line}".rstrip() + "\n" for line in ("groups:", *groups))
        head = HEAD.format(source=f"{RULES}/{source.name}", name=source.stem)
        files[f"{COMPONENTS}/{component}/rules/{source.stem}.yaml"] = head + lines
    return files


def main() -> None:
    """Write them."""
    for path, text in written().items():
        file = TEMPLATE / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
