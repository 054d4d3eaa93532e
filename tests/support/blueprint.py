"""What Render makes of a `render.yaml`: references that lead nowhere, and what it hands out."""

from collections.abc import Iterator, Mapping
from typing import Any

GENERATED = "B0jrphAPOY7pg92AN0c9MN4yecczLMdwnx4OkA1KFUk="
"""What `generateValue` gives looks like this: 32 random bytes in base64."""

PROVIDED: Mapping[str, str] = {
    "PORT": "10000",
    "RENDER_EXTERNAL_HOSTNAME": "service-1a2b.onrender.com",
    "RENDER_EXTERNAL_URL": "https://service-1a2b.onrender.com",
}
"""What Render itself gives every web service."""

DATABASE_PROPERTIES: Mapping[str, str] = {
    "connectionString": "postgresql://owner:x9A2pV0q@dpg-1a2b-a/name_1a2b",
    "connectionPoolString": "postgresql://owner:x9A2pV0q@dpg-1a2b-a-pool/name_1a2b",
    "host": "dpg-1a2b-a",
    "port": "5432",
    "user": "owner",
    "password": "x9A2pV0q",
    "database": "name_1a2b",
}
"""What can be asked of a database, with the likes of what Render answers."""
_SERVER = {"host": "service-1a2b", "port": "10000", "hostport": "service-1a2b:10000"}
SERVICE_PROPERTIES: Mapping[str, Mapping[str, str]] = {
    "keyvalue": {"connectionString": "redis://red-1a2b:6379"},
    "pserv": _SERVER,
    "web": _SERVER,
    "worker": {},
}
"""The same of each type of service."""

Blueprint = Mapping[str, Any]


def faults(blueprint: Blueprint) -> Iterator[str]:
    """Say what Render would refuse, or leave without a value, though its schema allows it."""
    yield from _repeated_names(blueprint)
    for group in blueprint.get("envVarGroups", ()):
        yield from _group_faults(group)
    regions = {part.get("region") for part in _placed(blueprint)}
    if len(regions) > 1:
        yield f"what is in several regions has no private network: {sorted(map(str, regions))}"
    for service in blueprint["services"]:
        for fault in _service_faults(service, blueprint):
            yield f"{service['name']}: {fault}"


def environment(
    service: Mapping[str, Any], blueprint: Blueprint, typed: Mapping[str, str]
) -> dict[str, str]:
    """Give what a service finds in its environment.

    Args:
        service: one that runs our image, or another.
        blueprint: where it stands.
        typed: what a person answers where `sync: false` asks.
    """
    given = dict(PROVIDED) if service["type"] == "web" else {}
    for entry in service.get("envVars", ()):
        if "fromGroup" in entry:
            group = _group(entry["fromGroup"], blueprint)
            given |= {each["key"]: _value(each, blueprint, typed) for each in group["envVars"]}
        else:
            given[entry["key"]] = _value(entry, blueprint, typed)
    return given


def keys(service: Mapping[str, Any], blueprint: Blueprint) -> set[str]:
    """Give the names of what a service is given by the file."""
    found = set()
    for entry in service.get("envVars", ()):
        if "fromGroup" in entry:
            found |= {each["key"] for each in _group(entry["fromGroup"], blueprint)["envVars"]}
        else:
            found.add(entry["key"])
    return found


def asked(service: Mapping[str, Any]) -> set[str]:
    """Give the variables that a person is asked for."""
    return {entry["key"] for entry in service.get("envVars", ()) if entry.get("sync") is False}


def services(blueprint: Blueprint, *types: str) -> list[Mapping[str, Any]]:
    """Give the services of some types."""
    return [service for service in blueprint["services"] if service["type"] in types]


def _placed(blueprint: Blueprint) -> Iterator[Mapping[str, Any]]:
    yield from blueprint["services"]
    yield from blueprint.get("databases", ())


def _repeated_names(blueprint: Blueprint) -> Iterator[str]:
    for kind in ("services", "databases", "envVarGroups"):
        names = [part["name"] for part in blueprint.get(kind, ())]
        for name in {name for name in names if names.count(name) > 1}:
            yield f"{kind} has {name} twice"


def _group_faults(group: Mapping[str, Any]) -> Iterator[str]:
    for entry in group["envVars"]:
        if "sync" in entry:
            yield f"group {group['name']}: Render ignores {entry['key']}, which has `sync`"


def _service_faults(service: Mapping[str, Any], blueprint: Blueprint) -> Iterator[str]:
    if "disk" in service and ("scaling" in service or service.get("numInstances", 1) != 1):
        yield "has a disk and can be one instance only"
    if "disk" in service and "preDeployCommand" in service:
        yield "no command before the deploy sees the disk"
    given = [entry["key"] for entry in service.get("envVars", ()) if "key" in entry]
    for key in {key for key in given if given.count(key) > 1}:
        yield f"{key} is given twice"
    for entry in service.get("envVars", ()):
        yield from _entry_faults(entry, blueprint)


def _entry_faults(entry: Mapping[str, Any], blueprint: Blueprint) -> Iterator[str]:
    if "fromGroup" in entry:
        if entry["fromGroup"] not in _names(blueprint, "envVarGroups"):
            yield f"there is no group {entry['fromGroup']}"
        return
    if source := entry.get("fromDatabase"):
        if source["name"] not in _names(blueprint, "databases"):
            yield f"{entry['key']}: there is no database {source['name']}"
        if source["property"] not in DATABASE_PROPERTIES:
            yield f"{entry['key']}: a database has no {source['property']}"
    elif source := entry.get("fromService"):
        yield from _reference_faults(entry["key"], source, blueprint)
    elif not {"value", "generateValue", "sync"} & entry.keys():
        yield f"{entry['key']} gets no value"


def _reference_faults(key: str, source: Mapping[str, str], blueprint: Blueprint) -> Iterator[str]:
    named = [each for each in services(blueprint, source["type"]) if each["name"] == source["name"]]
    if not named:
        yield f"{key}: there is no {source['type']} {source['name']}"
    elif ("property" in source) == ("envVarKey" in source):
        yield f"{key} asks for a property or for a variable, not for both"
    elif "property" in source and source["property"] not in SERVICE_PROPERTIES[source["type"]]:
        yield f"{key}: a {source['type']} has no {source['property']}"
    elif "envVarKey" in source:
        provided = PROVIDED if source["type"] == "web" else {}
        if source["envVarKey"] not in {*keys(named[0], blueprint), *provided}:
            yield f"{key}: {source['name']} has no {source['envVarKey']}"


def _value(entry: Mapping[str, Any], blueprint: Blueprint, typed: Mapping[str, str]) -> str:
    if source := entry.get("fromDatabase"):
        return DATABASE_PROPERTIES[source["property"]]
    if source := entry.get("fromService"):
        if "property" in source:
            return SERVICE_PROPERTIES[source["type"]][source["property"]]
        [named] = [
            each for each in services(blueprint, source["type"]) if each["name"] == source["name"]
        ]
        own = {each["key"]: each for each in named["envVars"] if "key" in each}
        key = source["envVarKey"]
        return _value(own[key], blueprint, typed) if key in own else PROVIDED[key]
    if entry.get("generateValue"):
        return GENERATED
    return typed[entry["key"]] if entry.get("sync") is False else str(entry["value"])


def _names(blueprint: Blueprint, kind: str) -> set[str]:
    return {part["name"] for part in blueprint.get(kind, ())}


def _group(name: str, blueprint: Blueprint) -> Mapping[str, Any]:
    return next(each for each in blueprint["envVarGroups"] if each["name"] == name)
