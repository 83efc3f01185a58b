"""Says every ten seconds that an execution's worker lives, from its start to its publication, and notices its loss."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from types import TracebackType

from airflow_provider_mlpipe.exceptions import LostClaimError, MlpipeError
from airflow_provider_mlpipe.metadata.store import Claim, MetadataStore

HEARTBEAT_SECONDS = 10.0

log = logging.getLogger(__name__)


class Heartbeat:
    """A thread that beats while the `with` block runs: hashing a large input must not look like death."""

    def __init__(self, store: MetadataStore, claim: Claim, *, on_loss: Callable[[], None]) -> None:
        """`on_loss` is called once, in the thread, when the claim is lost: publishing is not possible any more."""
        self._store = store
        self._claim = claim
        self._on_loss = on_loss
        self._stop = threading.Event()
        self._lost: LostClaimError | None = None
        self._thread = threading.Thread(target=self._beat, name="mlpipe-heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @contextlib.contextmanager
    def losing_it_is_the_error(self) -> Iterator[None]:
        """Raises LostClaimError in place of what followed from `on_loss`."""
        try:
            yield
        except MlpipeError:
            if self._lost is not None:
                raise self._lost from None
            raise

    def _beat(self) -> None:
        try:
            while not self._stop.wait(HEARTBEAT_SECONDS):
                self._beat_once()
        finally:
            self._store.close()  # this thread's connection

    def _beat_once(self) -> None:
        try:
            self._store.heartbeat(self._claim)
        except LostClaimError as error:
            self._lost = error
            self._stop.set()
            self._on_loss()
        except MlpipeError as error:  # the store is away for a while: the next beat may reach it
            log.warning("no heartbeat: %s", error)
