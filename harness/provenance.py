"""Who ran it and with what: harness version and commit, command line, Python and library versions. No host names, no user names."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.steps import versions

_LISTED = (
    "assay",
    "numpy",
    "torch",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "ai-edge-litert",
    "ai-edge-quantizer",
    "litert-torch",
    "scikit-learn",
)


def environment() -> Mapping[str, Any]:
    """The run's own section: the same for all its records."""
    return {
        "assay": versions(("assay",))["assay"],
        "git": _git(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "python": platform.python_version(),
        "packages": versions(_LISTED),
        "packages_sha256": packages_sha256(),
        "host_alias": host_alias(),
    }


def host_alias() -> str:
    """A stable name for this host that does not tell which it is."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        if Path(path).is_file():
            return hashlib.sha256(b"assay\n" + Path(path).read_bytes()).hexdigest()[:12]
    return hashlib.sha256(b"assay\n" + platform.node().encode()).hexdigest()[:12]


def packages_sha256() -> str:
    """Hash over every installed distribution and its version, which the name of its folder holds (PyPA, "Recording installed projects")."""
    found = sorted({entry.name for folder in sys.path for entry in Path(folder).glob("*.dist-info")})
    return hashlib.sha256("\n".join(found).encode()).hexdigest()


def now() -> str:
    """UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _git() -> Mapping[str, Any] | None:
    """Commit of the checkout the harness runs from, and whether it was edited since; None for an installed package."""
    folder = Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return None
    try:
        commit = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        )
        status = subprocess.run(
            ["git", "-C", str(folder), "status", "--porcelain"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit.stdout.strip(), "dirty": bool(status.stdout.strip())}
