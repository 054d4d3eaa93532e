"""Kubernetes manifests: rendered, built by kustomize, and judged by the schemas of Kubernetes."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from tests.support.answers import LOADER
from tests.support.template import ROOT

Object = dict[str, Any]
"""One Kubernetes object."""

PLACE = "deploy/kubernetes"
OVERLAYS = ("development", "staging", "production")
VERSION = "1.36.0"
"""The Kubernetes whose schemas judge; as the API server in .ci/kubernetes."""

SCHEMAS = ROOT.parent / "shared/schemas/crds"
"""Schemas of the operators' kinds; they are not part of this repository."""

SECRETS = {
    "SECRET_KEY": "0123456789abcdef0123456789abcdefSECRET",
    "JWT_SECRET": "fedcba9876543210fedcba9876543210SECRET",
}
"""What the examples of secret files leave empty and a service cannot do without."""

MASTER_KEY = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=\n"


@cache
def kustomize() -> tuple[str, ...]:
    """Find kustomize: on the PATH, inside kubectl, or what `.ci/kubernetes/build` has left.

    Raises:
        LookupError: there is none.
    """
    if program := shutil.which("kustomize") or built_program("kustomize"):
        return program, "build"
    if kubectl := shutil.which("kubectl"):
        return kubectl, "kustomize"
    raise LookupError("no kustomize: .ci/kubernetes/build kustomize")


def built_program(name: str) -> str | None:
    """Find what `.ci/kubernetes/build` has left in the cache."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    cache_directory = Path(os.environ.get("CI_CACHE_DIR") or Path(home, "groundwork"))
    modules = (ROOT / ".ci/kubernetes/go.mod").read_text("utf-8")
    module = {"kube-apiserver": "k8s.io/kubernetes", "kustomize": r"\S+/kustomize/v5"}[name]
    [version] = re.findall(rf"^\t{module} v(\S+)$", modules, re.MULTILINE)
    program = cache_directory / name / version / name
    return str(program) if program.is_file() else None


def supply_secrets(directory: Path) -> None:
    """Put secret files into the overlays of a rendered service, as its operators do."""
    place = directory / PLACE
    for overlay in ("staging", "production"):
        for name in ("secrets.env", "migration.env"):
            example = place / f"{name}.example"
            if example.is_file():
                text = example.read_text("utf-8")
                for variable, value in SECRETS.items():
                    text = text.replace(f"\n{variable}=\n", f"\n{variable}={value}\n")
                (place / "overlays" / overlay / name).write_text(text, "utf-8")
        (place / "overlays" / overlay / "master-key").write_text(MASTER_KEY, "utf-8")


def build(directory: Path) -> list[Object]:
    """Build one kustomization.

    Raises:
        ValueError: kustomize refuses it; says why.
    """
    built = subprocess.run(
        [*kustomize(), str(directory)], capture_output=True, text=True, check=False
    )
    if built.returncode != 0:
        raise ValueError(built.stderr)
    return [each for each in yaml.load_all(built.stdout, LOADER) if each]


def is_custom(kubernetes_object: Mapping[str, Any]) -> bool:
    """Whether an operator's definition, not Kubernetes itself, says what the kind looks like."""
    group = str(kubernetes_object.get("apiVersion", "")).rpartition("/")[0]
    return "." in group and not group.endswith(".k8s.io")


def schema_faults(objects: Iterable[Object]) -> Iterator[str]:
    """Say what Kubernetes' own schemas refuse; a kind or field that they do not know is a fault."""
    for each in objects:
        if is_custom(each):
            continue
        try:
            kubernetes_validate.validate(each, VERSION, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            yield f"{each.get('apiVersion')} {each.get('kind')} is no kind of Kubernetes {VERSION}"
        except kubernetes_validate.ValidationError as error:
            path = "/".join(map(str, getattr(error, "path", ())))
            yield f"{each['kind']} {each['metadata'].get('name')}: {path}: {error.message}"


def custom_schema(kubernetes_object: Mapping[str, Any]) -> Path:
    """Give the schema of an operator's kind."""
    group, _, version = str(kubernetes_object["apiVersion"]).partition("/")
    return SCHEMAS / group / f"{str(kubernetes_object['kind']).lower()}_{version}.json"
