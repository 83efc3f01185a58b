"""A warm parent that imports nothing heavy, but asyncio, as all that is heavy does: it has a hook after forks."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from waiting import PATIENCE, wait_for

from airflow_provider_mlpipe.execution import warm
from airflow_provider_mlpipe.execution.warm import ParentState, WarmParent

PRELOAD = ("packaging.version", "asyncio")


def light_parent(folder: Path) -> WarmParent:
    """The parent of this folder, of which there may be others with other settings. It bears with a busy machine."""
    return WarmParent(
        home=str(folder),
        idle_seconds=600,
        preload=PRELOAD,
        folder=folder,
        least_free=0,
        tick=0.05,
        patience=PATIENCE,
    )


def start(parent: WarmParent) -> None:
    """Returns when it is ready."""
    assert parent.start()
    wait_for(lambda: state(parent).state == "ready")


def state(parent: WarmParent) -> ParentState:
    """What it says of itself; "gone" when it is."""
    found = {each.key: each for each in warm.parents(parent.home, parent.folder)}
    return found.get(parent.key, ParentState(key=parent.key, pid=0, state="gone"))


@contextlib.contextmanager
def stopped_afterwards(parent: WarmParent) -> Iterator[WarmParent]:
    """Whatever is started in its folder is, even if it is held."""
    yield parent
    for each in warm.parents(parent.home, parent.folder):
        os.kill(each.pid, signal.SIGCONT)
    warm.stop(parent.home, parent.folder)
