"""Finding modules, so that a new file is enough and no list has to be kept."""

import pkgutil
from importlib import import_module
from types import ModuleType

from fastapi import APIRouter


def import_submodules(package: str) -> list[ModuleType]:
    """Import every module below a package, sorted by name; private ones (`_name`) are left out."""
    root = import_module(package)
    found = pkgutil.walk_packages(root.__path__, prefix=f"{package}.")
    names = sorted(module.name for module in found)
    return [import_module(name) for name in names if not name.rpartition(".")[2].startswith("_")]


def discover_routers(package: str) -> list[APIRouter]:
    """Collect the `router` of every module below a package.

    Raises:
        TypeError: a module has no `router`, so its endpoints would silently be missing.
    """
    routers: list[APIRouter] = []
    for module in import_submodules(package):
        router = getattr(module, "router", None)
        if not isinstance(router, APIRouter):
            raise TypeError(f"{module.__name__} must define `router`, an APIRouter")
        routers.append(router)
    return routers
