"""Kubernetes manifests: built by kustomize, and judged by the schemas of Kubernetes."""

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

VERSION = "1.36.0"
"""The Kubernetes whose schemas judge; as the API server in .ci/kubernetes."""

SCHEMAS = ROOT.parent / "shared/schemas/crds"
"""Schemas of the operators' kinds; they are not part of this repository."""


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
    modules = (ROOT / ".ci/kubernetes/go.mod").read_text("utf-8")
    module = {"kube-apiserver": "k8s.io/kubernetes", "kustomize": r"\S+/kustomize/v5"}[name]
    [version] = re.findall(rf"^\t{module} v(\S+)$", modules, re.MULTILINE)
    return cached_program(f"{name}/{version}/{name}")


def checkov_program() -> str | None:
    """Find checkov: on the PATH, or what `.ci/checkov` has left in the cache."""
    script = (ROOT / ".ci/checkov").read_text("utf-8")
    [version] = re.findall(r"^version=(\S+)$", script, re.MULTILINE)
    return shutil.which("checkov") or cached_program(f"checkov/{version}/bin/checkov")


def cached_program(path: str) -> str | None:
    """Find a program in the cache that the scripts in .ci/ fill."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    cache_directory = Path(os.environ.get("CI_CACHE_DIR") or Path(home, "groundwork"))
    program = cache_directory / path
    return str(program) if program.is_file() else None


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
