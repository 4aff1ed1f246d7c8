"""A bundle's bill of materials, in CycloneDX: its packages and its models."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
import zipfile
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deploy.packages import (
    Target,
    Wheel,
)


def licenses(metadata: Message) -> list[dict[str, Any]]:
    """A package's licences as CycloneDX has them."""
    if expression := metadata["License-Expression"]:
        return [{"expression": str(expression)}]
    named = str(metadata["License"] or "").strip()
    classified = [
        value.rpartition(" :: ")[2] for value in metadata.get_all("Classifier", []) if value.startswith("License ::")
    ]
    names = [named] if named and "\n" not in named else classified  # some have the whole text there
    return [{"license": {"name": name}} for name in names]


def component(wheel: Wheel) -> dict[str, Any]:
    """A package as CycloneDX has it."""
    purl = f"pkg:pypi/{wheel.name}@{quote(wheel.version, safe='')}"
    return {
        "type": "application" if wheel.name == "cuelens" else "library",
        "bom-ref": purl,
        "name": wheel.name,
        "version": wheel.version,
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": wheel.sha256}],
        "licenses": licenses(wheel.metadata),
    }


def models(wheel: Wheel) -> list[dict[str, Any]]:
    """The models in a wheel as CycloneDX has them."""
    with zipfile.ZipFile(wheel.path) as archive:
        return [
            {
                "type": "machine-learning-model",
                "bom-ref": f"model:{Path(name).stem}",
                "name": Path(name).name,
                "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(archive.read(name)).hexdigest()}],
            }
            for name in sorted(archive.namelist())
            if name.endswith(".tflite")
        ]


def bill_of_materials(version: str, target: Target, wheels: list[Wheel], epoch: int) -> bytes:
    """The bundle's SBOM (CycloneDX 1.6, JSON): the packages and the models, by sha256."""
    own = {"type": "application", "bom-ref": "bundle", "name": f"cuelens for {target}", "version": version}
    parts = [part for wheel in wheels for part in (component(wheel), *models(wheel))]
    content = json.dumps(parts, sort_keys=True)
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, f'{version} {target} {content}')}",
        "version": 1,
        "metadata": {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch)), "component": own},
        "components": parts,
        "dependencies": [{"ref": "bundle", "dependsOn": [part["bom-ref"] for part in parts]}],
    }
    return f"{json.dumps(bill, indent=1, sort_keys=True)}\n".encode()
