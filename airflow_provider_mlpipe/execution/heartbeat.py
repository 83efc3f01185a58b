"""The heartbeat: reports every ten seconds that an execution's worker is alive, and notices when the claim is lost."""

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
    """A thread that sends heartbeats during the `with` block: a worker must count as alive while it hashes files."""

    def __init__(self, store: MetadataStore, claim: Claim, *, on_loss: Callable[[], None]) -> None:
        """`on_loss` is called once, in the thread, when the claim is lost: then nothing can be published any more."""
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
        """Raises LostClaimError instead of an error that `on_loss` caused."""
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
        except MlpipeError as error:  # e.g. the store cannot be reached: the next heartbeat may succeed
            log.warning("the heartbeat failed: %s", error)
