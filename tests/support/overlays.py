"""The overlays of the services that run on Kubernetes: rendered, given secrets, and built."""

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.kubernetes import build
from tests.support.matrix import Matrix
from tests.support.references import OF_THE_SERVICE, Manifests, Workload
from tests.support.render import Renderer
from tests.support.template import Answers

PLACE = "deploy/kubernetes"
OVERLAYS = ("development", "staging", "production")
TARGET = {"deploy": "kubernetes"}

SHAPING = ("database", "databases", "tenancy", "vault", "worker", "encryption")
"""Questions whose components patch what others made: all their combinations are built. The others
only add objects or variables, so it is enough to meet each pair of them."""

SECRETS = {
    "SECRET_KEY": "0123456789abcdef0123456789abcdefSECRET",
    "JWT_SECRET": "fedcba9876543210fedcba9876543210SECRET",
    "CLERK_SECRET_KEY": "one-of-the-tests",
    "OIDC_CLIENT_SECRET": "one-of-the-tests",
}
"""What the examples of secret files leave empty and a service cannot do without."""

MASTER_KEY = base64.b64encode(bytes(range(100, 132))).decode() + "\n"


@dataclass(frozen=True)
class Overlay:
    """One overlay of one service.

    Attributes:
        name: development, staging or production.
        answers: those of the service.
        manifests: what it comes to.
    """

    name: str
    answers: Answers
    manifests: Manifests

    @property
    def active(self) -> frozenset[str]:
        """The pieces that are on."""
        return frozenset(self.answers["active"])

    @property
    def of_the_service(self) -> list[Workload]:
        """What runs the service's image."""
        return [each for each in self.manifests.workloads if each.component in OF_THE_SERVICE]

    def settings(self, workload: Workload) -> dict[str, str]:
        """Give the variables of the first container."""
        return self.manifests.environment(workload.spec["containers"][0])


class Overlays:
    """Renders and builds the manifests of one template."""

    def __init__(self, matrix: Matrix, renderer: Renderer) -> None:
        self.matrix = matrix
        self.renderer = renderer

    @cached_property
    def paths(self) -> list[str]:
        """The files of the manifests."""
        return [path for path in self.renderer.sources if path.startswith(f"{PLACE}/")]

    def resolve(self, given: Mapping[str, Any]) -> Answers:
        """Complete the answers of a service on Kubernetes."""
        return self.matrix.resolver.resolve({**given, **TARGET})

    def crossed(self, database: str) -> list[Answers]:
        """Give answers for each combination of the components that patch, on one database."""
        pieces = self.renderer.template.pieces
        crossed = {name for name in pieces if self._read_by(name) <= {*SHAPING, "deploy"}}
        asked_for = self._reads()[1] & crossed
        fixed = {**TARGET, "database": database}
        return [each.answers for each in self.matrix.projections(fixed=fixed, pieces=asked_for)]

    def paired(self) -> list[Answers]:
        """Give answers in which each pair of answers that the manifests read occurs."""
        template = self.renderer.template
        names = {name for path in self.paths for name in template.switches(self._source(path))}
        return self.matrix.covering(names - TARGET.keys(), TARGET)

    def render(self, answers: Answers, directory: Path) -> Path:
        """Write the manifests, with secret files as the operators put them there."""
        excluded = self.renderer.excluded(answers)
        files = {
            self.renderer.named(path, answers): self.renderer.content(path, answers)
            for path in (*self.paths, ".env.example")
            if not excluded(path)
        }
        self.renderer.write(files, directory)
        supply_secrets(directory)
        return directory

    def overlay(self, directory: Path, name: str, answers: Answers) -> Overlay:
        """Build one overlay of what was rendered, with what an administrator has to apply before.

        Raises:
            ValueError: kustomize refuses it.
        """
        listed = (directory / ".env.example").read_text("utf-8")
        documented = dict(re.findall(r"^#? ?([A-Z0-9_]+)=(.*)$", listed, re.MULTILINE))
        objects = [
            each
            for part in ("overlays", "namespaces")
            for each in build(directory / PLACE / part / name)
        ]
        return Overlay(name, answers, Manifests(objects, documented))

    def built(self, answers: Answers, *names: str) -> Iterator[Overlay]:
        """Render a service and build its overlays, or some of them."""
        with TemporaryDirectory(prefix="groundwork-") as place:
            directory = self.render(answers, Path(place))
            for name in names or OVERLAYS:
                yield self.overlay(directory, name, answers)

    def _read_by(self, piece: str) -> frozenset[str]:
        template = self.renderer.template
        return template.asked_behind(template.variables(template.pieces[piece].when))

    def _reads(self) -> tuple[frozenset[str], frozenset[str]]:
        reads = [self.renderer.template.reads(self._source(path)) for path in self.paths]
        questions = frozenset[str]().union(*(names for names, _ in reads))
        return questions, frozenset[str]().union(*(pieces for _, pieces in reads))

    def _source(self, path: str) -> str:
        return self.renderer.sources[path]


def supply_secrets(directory: Path) -> None:
    """Put secret files into the overlays of a rendered service, as its operators do."""
    place = directory / PLACE
    for overlay in ("staging", "production"):
        for name in ("secrets.env", "migration.env", "frontend-secrets.env"):
            example = place / f"{name}.example"
            if example.is_file():
                text = example.read_text("utf-8").replace("PASSWORD", "one-of-the-tests")
                for variable, value in SECRETS.items():
                    text = text.replace(f"\n{variable}=\n", f"\n{variable}={value}\n")
                (place / "overlays" / overlay / name).write_text(text, "utf-8")
        (place / "overlays" / overlay / "master-key").write_text(MASTER_KEY, "utf-8")
