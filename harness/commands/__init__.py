"""Groups of commands, a file each that holds a typer app; `harness/cli.py` adds them."""
