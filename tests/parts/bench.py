"""Tries of one component in processes of their own, held at announced barriers."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import run_part
from held import Held
from waiting import PATIENCE

from airflow_provider_mlpipe.artifacts import ArtifactState
from airflow_provider_mlpipe.metadata.store import ExecutionState, MetadataStore
from airflow_provider_mlpipe.storage.digests import tree_digest


class Task:
    """A try in a process of its own, forked as Airflow's executor forks tasks."""

    def __init__(self, log: Path, environment: Mapping[str, str], arguments: list[str]) -> None:
        self._log = log
        self._process = multiprocessing.get_context("fork").Process(target=self._work, args=[environment, arguments])
        self._process.start()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def wait(self) -> int:
        self._process.join(timeout=PATIENCE)
        assert self._process.exitcode is not None, self.output
        return self._process.exitcode

    @property
    def output(self) -> str:
        return self._log.read_text()

    def _work(self, environment: Mapping[str, str], arguments: list[str]) -> None:
        os.environ |= environment
        tempfile.tempdir = None
        tempfile.gettempdir()  # once and for all what TMPDIR says; were that folder full, Python would take another
        with self._log.open("w") as log, contextlib.redirect_stdout(log):
            code = run_part.main(*arguments)
        os._exit(code)


@dataclass
class Bench(Held):
    """A place to run tries of one component in processes of their own, held at barriers."""

    dsn: str
    root: Path
    barriers: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    parent: Path | None = None
    """The folder of a warm parent to be used."""
    component: str = "Make"

    def start(self, try_number: int, run_id: str = "run", **arguments: Any) -> Task:
        how = {"try_number": try_number, "run_id": run_id}
        request = {
            "component": self.component,
            "arguments": arguments,
            "how": how,
            "parent": self.parent and str(self.parent),
        }
        log = self.root.parent / f"try-{try_number}.log"
        environment = {"MLPIPE_BARRIERS": str(self.barriers), **self.environment}
        return Task(log, environment, [self.dsn, str(self.root), json.dumps(request)])

    def succeed(self, try_number: int, run_id: str = "run", **arguments: Any) -> None:
        task = self.start(try_number, run_id, **arguments)
        assert task.wait() == 0, task.output

    @property
    def store(self) -> MetadataStore:
        return MetadataStore(self.dsn)

    def assert_sound(self) -> None:
        """Every LIVE artifact hashes to its digest, and nothing is RUNNING."""
        live = self.store.artifacts(state=ArtifactState.LIVE).items
        assert live
        for artifact in live:
            assert tree_digest(Path(artifact.uri)) == artifact.digest
            assert len(list(Path(artifact.uri).iterdir())) == 3
        assert not self.store.executions(state=ExecutionState.RUNNING).items
