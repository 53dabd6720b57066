"""An option that several commands take reads the same in all of them."""

from __future__ import annotations

import typer.main

from harness.cli import app


def test_shared_options_read_the_same_everywhere() -> None:
    helps: dict[str, set[str]] = {"--inventory": set(), "--json": set()}
    groups = [typer.main.get_command(app)]
    while groups:
        group = groups.pop()
        groups += list(getattr(group, "commands", {}).values())
        for parameter in group.params:
            for option in set(parameter.opts) & set(helps):
                helps[option].add(str(getattr(parameter, "help", "")))
    assert all(len(texts) == 1 for texts in helps.values()), helps
