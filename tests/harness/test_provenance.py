"""The run's own section says what ran, and nothing that tells whose machine it was."""

from __future__ import annotations

import getpass
import json
import platform
import re
from datetime import datetime

from harness.provenance import environment, host_alias, now


def test_environment_names_versions_and_no_host_or_user() -> None:
    found = environment()
    assert found["packages"]["numpy"] and re.fullmatch("[0-9a-f]{64}", found["packages_sha256"])
    assert found["git"] is None or re.fullmatch("[0-9a-f]{40}", found["git"]["commit"])
    text = json.dumps({key: value for key, value in found.items() if key != "command"})
    assert platform.node() not in text
    assert re.search(rf"\b{re.escape(getpass.getuser())}\b", text) is None


def test_host_alias_is_stable() -> None:
    assert host_alias() == host_alias() and re.fullmatch("[0-9a-f]{12}", host_alias())


def test_now_is_utc_with_milliseconds() -> None:
    moment = datetime.fromisoformat(now())
    offset = moment.utcoffset()
    assert offset is not None and not offset and re.search(r"\.\d{3}\+00:00$", now())
