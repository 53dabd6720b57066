"""Calls one function of a backend's file: `python -P call.py FILE FUNCTION ARGUMENTS ANSWER`. Runs in the backend's own environment.

ARGUMENTS is a JSON list. ANSWER becomes a JSON file: `{"answer": ...}`, or `{"unsupported": why}` where NotImplementedError was raised.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import sys


def main(file: str, function: str, arguments: str, answer: str) -> None:
    if sys.platform.startswith("linux"):
        pr_set_pdeathsig, sigkill = 1, 9
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, sigkill, 0, 0, 0)  # a killed harness leaves no compiler running
    spec = importlib.util.spec_from_file_location("assay_backend", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their own module up while they are made
    spec.loader.exec_module(module)
    try:
        document = {"answer": getattr(module, function)(*json.loads(arguments))}
    except NotImplementedError as error:
        document = {"unsupported": str(error)}
    with open(answer, "w", encoding="utf-8") as stream:  # noqa: PTH123 - one line of standard library
        json.dump(document, stream)


if __name__ == "__main__":
    main(*sys.argv[1:])
