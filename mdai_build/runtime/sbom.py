"""Writes down what an image holds: its Python and conda packages, as CycloneDX 1.5 JSON.

    python -I sbom.py [--preinstalled PINS] [--server FOLDER] OUTPUT

Run while an image is built, by the Python whose packages are meant. `--server` is the folder with the packages of the
server, which the model does not see; `--preinstalled` the file with the versions that the environment began with.
There is no time in the document, and its serial number comes from its content: the same packages give the same bytes.
Packages are read from their own files, since Python 3.7 has no importlib.metadata.
"""

from __future__ import annotations

import argparse
import email.message
import email.parser
import glob
import hashlib
import json
import os
import re
import sys
import uuid
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple
from urllib.parse import quote, urlsplit

Component = Dict[str, Any]

SPEC_VERSION = "1.5"
PREFIX = "mdai-build:"
# Licences that packages name by their SPDX id and that the schema knows by it; any other is given as a name.
_SPDX = (
    "0BSD Apache-2.0 BSD-2-Clause BSD-3-Clause BSL-1.0 GPL-2.0-only GPL-2.0-or-later GPL-3.0-only GPL-3.0-or-later "
    "HPND ISC LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0-only LGPL-3.0-or-later MIT MIT-0 MIT-CMU MPL-2.0 PSF-2.0 "
    "Python-2.0 Unlicense Zlib"
)
SPDX = frozenset(_SPDX.split())
_LONGEST_NAME = 200
_ALGORITHMS = {
    "md5": ("MD5", 32),
    "sha1": ("SHA-1", 40),
    "sha256": ("SHA-256", 64),
    "sha384": ("SHA-384", 96),
    "sha512": ("SHA-512", 128),
}
"""The document's name of each, and the number of its hexadecimal digits."""


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Writes the document."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--preinstalled")
    parser.add_argument("--server")
    parser.add_argument("output")
    options = parser.parse_args(arguments)
    folders = [folder for folder in sys.path if os.path.isdir(folder)]
    pins = read_pins(options.preinstalled) if options.preinstalled else {}
    document = describe(folders, sys.prefix, options.server, pins)
    os.makedirs(os.path.dirname(os.path.abspath(options.output)), exist_ok=True)
    with open(options.output, "w", encoding="utf-8", newline="\n") as stream:
        json.dump(document, stream, indent=1, sort_keys=True)
        stream.write("\n")


def describe(folders: Sequence[str], prefix: str, server: Optional[str], pins: Mapping[str, str]) -> Dict[str, Any]:
    """The document.

    `folders` are those that the model imports from, first one first; `prefix` that of its conda environment, `server`
    the folder of the server's packages or None, `pins` the version of each preinstalled package by its normal name.
    """
    components: List[Component] = []
    seen = set()
    for folder in folders:
        for component in packages(folder, "model", pins):
            # The first one on the path is the one that is imported.
            if component["bom-ref"].rpartition("@")[0] not in seen:
                seen.add(component["bom-ref"].rpartition("@")[0])
                components.append(component)
    present = {normal(component["name"]) for component in components}
    gone = [property_of("removed", "%s==%s" % (name, pins[name])) for name in sorted(set(pins) - present)]
    components += conda_packages(prefix)
    if server:
        components += packages(server, "server", {})
    components.sort(key=lambda component: component["bom-ref"])
    document: Dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "version": 1,
        "metadata": {"tools": {"components": [{"type": "application", "name": "mdai-build"}]}},
        "components": components,
    }
    if gone:
        document["properties"] = gone
    content = json.dumps(document, sort_keys=True).encode()
    document["serialNumber"] = "urn:uuid:%s" % uuid.UUID(hashlib.sha256(content).hexdigest()[:32], version=5)
    return document


def read_pins(file: str) -> Dict[str, str]:
    """The versions that a file of `name==version` lines pins, by normal name."""
    with open(file, encoding="utf-8") as stream:
        lines = [line.split("#")[0].strip() for line in stream]
    # A hash may follow.
    pins = [line.split()[0].split("==") for line in lines if "==" in line]
    return {normal(name): version for name, version in pins}


def normal(name: str) -> str:
    """A package's name as package URLs and indexes have it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def packages(folder: str, group: str, pins: Mapping[str, str]) -> Iterator[Component]:
    """The components of the Python packages that are installed in a folder."""
    for place in sorted(glob.glob(os.path.join(glob.escape(folder), "*.dist-info"))):
        headers = read_headers(os.path.join(place, "METADATA"))
        if headers is not None:
            yield package(place, headers, group, pins)
    for place in sorted(glob.glob(os.path.join(glob.escape(folder), "*.egg-info"))):
        headers = read_headers(place if os.path.isfile(place) else os.path.join(place, "PKG-INFO"))
        if headers is not None:
            yield package(place, headers, group, pins)


def read_headers(file: str) -> Optional[email.message.Message]:
    """The headers of a package's metadata, or None where it has none that name it."""
    try:
        with open(file, encoding="utf-8", errors="replace") as stream:
            headers = email.parser.HeaderParser().parse(stream, headersonly=True)
    except OSError:
        return None
    return headers if headers["Name"] and headers["Version"] else None


def package(place: str, headers: email.message.Message, group: str, pins: Mapping[str, str]) -> Component:
    """The component of one Python package."""
    name, version = str(headers["Name"]).strip(), str(headers["Version"]).strip()
    url = "pkg:pypi/%s@%s" % (quote(normal(name), safe=""), quote(version, safe=""))
    component: Component = {
        "type": "library",
        "bom-ref": "%s:%s" % (group, url),
        "name": name,
        "version": version,
        "purl": url,
    }
    if headers["Summary"] and str(headers["Summary"]).strip().upper() != "UNKNOWN":
        component["description"] = " ".join(str(headers["Summary"]).split())[:_LONGEST_NAME]
    licences = licences_of(headers)
    if licences:
        component["licenses"] = licences
    properties = [property_of("group", group)]
    if normal(name) in pins:
        properties.append(property_of("preinstalled", pins[normal(name)]))
    origin = direct_url(os.path.join(place, "direct_url.json"))
    if origin:
        source, qualifiers, hashes = origin
        if qualifiers:
            component["purl"] += "?" + qualifiers
        if hashes:
            component["hashes"] = hashes
        properties.append(property_of("source", source))
    recorded = installed_files(os.path.join(place, "RECORD"))
    if recorded:
        properties.append(property_of("files-sha256", recorded))
    component["properties"] = properties
    return component


def property_of(name: str, value: str) -> Dict[str, str]:
    """A property of a component, or of the document."""
    return {"name": PREFIX + name, "value": value}


def licences_of(headers: email.message.Message) -> List[Dict[str, Any]]:
    """The licences that a package names: an expression (PEP 639), classifiers, or free text, in this order."""
    expression = str(headers["License-Expression"] or "").strip()
    if expression:
        return [{"expression": expression}]
    classifiers = [str(line) for line in headers.get_all("Classifier") or () if str(line).startswith("License ::")]
    names = [line.split("::")[-1].strip() for line in classifiers]
    names = [name for name in names if name != "OSI Approved"]
    text = str(headers["License"] or "").strip()
    if text in SPDX:
        names = [text]
    elif not names and text and text.upper() != "UNKNOWN":
        names = [" ".join(text.split("\n")[0].split())[:_LONGEST_NAME]]
    names = [{"MIT License": "MIT", "ISC License (ISCL)": "ISC"}.get(name, name) for name in names]
    return [{"license": {"id" if name in SPDX else "name": name}} for name in dict.fromkeys(names) if name]


def direct_url(file: str) -> Optional[Tuple[str, str, List[Dict[str, str]]]]:
    """Where a package came from that did not come from an index (PEP 610): words, URL qualifiers, hashes; or None."""
    try:
        with open(file, encoding="utf-8") as stream:
            origin = json.load(stream)
        url = without_login(str(origin["url"]))
        archive, repository = dict(origin.get("archive_info") or {}), dict(origin.get("vcs_info") or {})
        found = dict(archive.get("hashes") or {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    kind, _, value = str(archive.get("hash") or "").partition("=")
    found.setdefault(kind, value)
    listed = hashes_of(found)
    if repository:
        source = "%s+%s@%s" % (repository.get("vcs", "git"), url, repository.get("commit_id", ""))
        return source, "vcs_url=" + quote(source, safe=""), listed
    if url.startswith("file:"):
        # The folder of the build; what follows is the path in the bundle.
        return re.sub(r"^file:///(?:requirements/)?", "", url), "", listed
    return url, "download_url=" + quote(url, safe=""), listed


def hashes_of(values: Mapping[str, Any]) -> List[Dict[str, str]]:
    """The hashes, by algorithm, that are such; in the form of the document."""
    return [
        {"alg": _ALGORITHMS[kind][0], "content": str(value)}
        for kind, value in sorted(values.items())
        if kind in _ALGORITHMS and re.match("^[0-9a-f]{%d}$" % _ALGORITHMS[kind][1], str(value))
    ]


def without_login(url: str) -> str:
    """The address without a user name or a password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def installed_files(record: str) -> Optional[str]:
    """A digest over the names and digests of a package's files, as its RECORD lists them; None where it has none.

    Without compiled files and those that an installer writes beside the package's own.
    """
    own = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json", "uv_cache.json", "uv_build.json")
    try:
        with open(record, encoding="utf-8", errors="replace") as stream:
            lines = sorted(line.strip() for line in stream)
    except OSError:
        return None
    kept = []
    for line in lines:
        name = line.rsplit(",", 2)[0].strip('"')
        if line and not name.endswith(".pyc") and not name.startswith("..") and os.path.basename(name) not in own:
            kept.append(line)
    return hashlib.sha256("\n".join(kept).encode()).hexdigest() if kept else None


def conda_packages(prefix: str) -> Iterator[Component]:
    """The components of the conda packages of an environment that are no Python packages, as Python itself."""
    for file in sorted(glob.glob(os.path.join(glob.escape(prefix), "conda-meta", "*.json"))):
        try:
            with open(file, encoding="utf-8") as stream:
                record = json.load(stream)
            name, version = str(record["name"]), str(record["version"])
        except (OSError, ValueError, KeyError):
            continue
        if any(".dist-info/" in path or ".egg-info" in path for path in record.get("files") or ()):
            continue
        yield conda_package(record, name, version)


def conda_package(record: Mapping[str, Any], name: str, version: str) -> Component:
    """The component of one conda package, from its record in conda-meta."""
    url = "pkg:conda/%s@%s?build=%s&subdir=%s&type=%s" % (
        quote(name, safe=""),
        quote(version, safe=""),
        quote(str(record.get("build", "")), safe=""),
        quote(str(record.get("subdir", "")), safe=""),
        "conda" if str(record.get("fn", "")).endswith(".conda") else "tar.bz2",
    )
    component: Component = {
        "type": "library",
        "bom-ref": "conda:%s" % url,
        "name": name,
        "version": version,
        "purl": url,
        "properties": [property_of("group", "conda")],
    }
    licence = str(record.get("license") or "").strip()
    if licence:
        component["licenses"] = [{"license": {"id" if licence in SPDX else "name": licence}}]
    hashes = hashes_of(record)
    if hashes:
        component["hashes"] = hashes
    return component


if __name__ == "__main__":
    main()
