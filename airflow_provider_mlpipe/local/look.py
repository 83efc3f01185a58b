"""A look at what the demo made: starts the Postgres of its state, for `airflow mlpipe …` in another shell.

`make look`, or `python -m airflow_provider_mlpipe.local.look`. Nothing else is started.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from airflow_provider_mlpipe.exceptions import InvalidInputError, MlpipeError
from airflow_provider_mlpipe.local.airflow import LocalAirflow
from airflow_provider_mlpipe.local.demo import CHECKOUT, default_state_dir, end_like_ctrl_c


def look(state_dir: Path, dags_folder: Path) -> None:
    """Run the Postgres of a demo's state until Ctrl-C or SIGTERM, and print what to type in another shell.

    Raises:
        InvalidInputError: no demo has run there.
        StoreUnavailableError: Postgres did not start.
    """
    airflow = LocalAirflow(state_dir, dags_folder)
    if not airflow.home.is_dir():
        raise InvalidInputError(f"no demo has run with the state folder {airflow.state_dir}: `make demo` runs one")
    end_like_ctrl_c()
    try:
        with airflow.postgres:
            airflow.write_shell_file()
            print(f"Postgres is up; Ctrl-C stops it. In another shell:\n\nsource {airflow.shell_file}", flush=True)
            print("airflow mlpipe runs", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print("\nStopped.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Look from the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="look", description="Start the Postgres of a demo's state for a look.")
    parser.add_argument("--dags-folder", type=Path, default=CHECKOUT / "dags")
    parser.add_argument("--state-dir", type=Path, default=None)
    options = parser.parse_args(arguments)
    try:
        look(options.state_dir or default_state_dir(), options.dags_folder)
    except MlpipeError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
