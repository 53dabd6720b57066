"""`assay board`: emulated arm64 boards for everyone without hardware."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.commands.options import InventoryOption, JsonOption
from results.printable import printable

if TYPE_CHECKING:
    from targets.board.board import Board

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="An emulated arm64 board: boot it, use it by SSH and ADB, take it down. Its answers are real, its times are not.",
)
NameArgument = Annotated[str, typer.Argument(metavar="[NAME]", help="Of the board; its targets are NAME-ssh and NAME-adb.")]


@app.command()
def up(
    name: NameArgument = "board",
    cpu: Annotated[str, typer.Option("--cpu", metavar="CPU", help="Core, as QEMU calls it.")] = "cortex-a72",
    cpus: Annotated[int, typer.Option("--cpus", metavar="N")] = 1,
    memory: Annotated[int, typer.Option("--memory", metavar="MIB", help="Half of it is the disk.")] = 1024,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="The same work is the same number of instructions, every time.")
    ] = False,
    inventory: InventoryOption = None,
    json_: JsonOption = False,
) -> None:
    """Boot a board and write its two targets into the inventory. Again is fine; one whose QEMU died is booted again.

    \b
    Example:
      assay board up --inventory devices.yaml
      assay run my_suite.yaml --inventory devices.yaml
    """
    from targets.board import life
    from targets.board.board import Board
    from targets.inventory import written_inventory

    path = written_inventory(inventory).resolve()
    wanted = Board(name, str(path), cpu, cpus, memory, deterministic)
    board = life.up(wanted, lambda text: print(printable(text), file=sys.stderr))
    _say(_row(board), json_, f"{name} is up: targets {name}-ssh and {name}-adb in {path}\nby hand: {_by_hand(board)}")


@app.command()
def down(name: NameArgument = "board", json_: JsonOption = False) -> None:
    """Stop a board, delete all that it left, and take its targets out of the inventory."""
    from targets.board import life

    board = life.down(name)
    _say({"board": board.name}, json_, f"{board.name} is down, and its targets are out of {board.inventory}")


@app.command("ls")
def list_(json_: JsonOption = False) -> None:
    """Show every board that is up, or died and was not taken down."""
    from harness.show import columns
    from targets.board.board import boards

    rows = [_row(board) for board in boards().values()]
    _say(rows, json_, columns(rows))


def _say(value: Any, as_json: bool, text: str) -> None:
    print(printable(json.dumps(value, indent=1) if as_json else text, lines=True))


def _row(board: Board) -> dict[str, Any]:
    from targets.board import machine

    uptime_s = machine.uptime_s(board)
    return {
        "board": board.name,
        "state": "dead" if uptime_s is None else "up",
        "uptime_s": None if uptime_s is None else round(uptime_s),
        "ssh": f"127.0.0.1:{board.ssh_port}",
        "adb": f"127.0.0.1:{board.adb_port}",
        "cpu": f"{board.cpus}x {board.cpu}",
        "memory_mib": board.memory_mib,
        "mode": board.mode,
        "inventory": board.inventory,
    }


def _by_hand(board: Board) -> str:
    """The command that logs in, for a person's shell."""
    import shlex

    from targets.board import keys

    options = ("-i", str(keys.login_key(board)), "-o", f"UserKnownHostsFile={keys.known_hosts(board)}", "-p", str(board.ssh_port))
    return shlex.join(("ssh", *options, "root@127.0.0.1"))
