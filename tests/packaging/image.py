"""Builds and runs a Dockerfile without a container engine, to see whether its steps do what they are meant to.

The steps are read from the Dockerfile by Docker's own parser. Each runs by ``chroot`` in a folder that stands for the
image: its files are the stage's own, ``/usr`` is this machine's, read-only, and ``/usr/local`` the Python that the base
image is named for. The environment is the Dockerfile's and nothing else. What ``pip`` is told about where packages come
from is taken over from this machine, as an engine takes its proxy over.

What this does not show: whether the base image has what this machine's ``/usr`` has, and what an engine itself does.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import dockerfile

TAKEN_OVER = (
    *("passwd", "group", "shadow", "gshadow", "login.defs", "default", "nsswitch.conf", "hosts", "resolv.conf"),
    *("ssl", "ca-certificates", "ca-certificates.conf", "alternatives", "ld.so.conf", "ld.so.conf.d", "localtime"),
)
"""Of this machine's /etc, as a base image has them, too."""

BASE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def why_not() -> str:
    """Why images cannot be built here; empty when they can."""
    if sys.platform != "linux":
        return "only Linux has mount namespaces"
    if os.geteuid() != 0:
        return "only root may mount, and be another user then"
    for program in ("unshare", "chroot", "setpriv"):
        if shutil.which(program) is None:
            return f"{program} (util-linux, coreutils) is missing"
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True)
    return tried.stderr.strip() if tried.returncode else ""


# What a Dockerfile says


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One stage: what it begins with, and its steps."""

    name: str
    base: str
    steps: tuple[dockerfile.Command, ...]


def read_stages(text: str) -> dict[str, Stage]:
    """The stages by name, in order; their bases with the arguments' defaults put in."""
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    name, base, steps = "", "", list[dockerfile.Command]()
    for step in dockerfile.parse_string(text):
        if step.cmd == "FROM":
            if name:
                stages[name] = Stage(name=name, base=base, steps=tuple(steps))
            base, _, name = (expand(value, arguments) for value in step.value)
            steps = []
        elif name:
            steps.append(step)
        else:
            assert step.cmd == "ARG", step.original
            key, _, value = step.value[0].partition("=")
            arguments[key] = value
    return {**stages, name: Stage(name=name, base=base, steps=tuple(steps))}


def expand(text: str, variables: Mapping[str, str]) -> str:
    """``$NAME`` and ``${NAME}``, as a Dockerfile has them."""
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda found: variables[found[1] or found[2]], text)


def pairs(values: Sequence[str]) -> dict[str, str]:
    """What ENV and LABEL set, without their quotation marks."""
    return {key: shlex.split(value)[0] for key, value in zip(values[::2], values[1::2], strict=True)}


def is_sent(path: str, ignored: Sequence[str]) -> bool:
    """Whether a file of the context is sent to the build.

    Args:
        path: within the context.
        ignored: the lines of ``.dockerignore``; the last one that fits decides.
    """
    parts = PurePosixPath(path).parts
    sent = True
    for line in ignored:
        if not line.strip() or line.startswith("#"):
            continue
        pattern = line.strip().removeprefix("!")
        if pattern.startswith("**/"):
            fits = any(fnmatch.fnmatchcase(part, pattern[3:]) for part in parts)
        else:
            wanted = PurePosixPath(pattern).parts
            fits = len(parts) >= len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))
        if fits:
            sent = line.startswith("!")
    return sent


# What becomes of it


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """A stage that was built, or the base that it begins with.

    Attributes:
        root: the folder with its files, without those of the machine.
        python: the prefix that is ``/usr/local`` in it.
        binds: folders of the machine that the build sees.
        health: the command of HEALTHCHECK.
        health_flags: its ``--interval`` and the like.
    """

    root: Path
    python: Path
    binds: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": BASE_PATH})
    arguments: Mapping[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    health: tuple[str, ...] = ()
    health_flags: tuple[str, ...] = ()
    stop_signal: str = "SIGTERM"
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    def running(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        mounts: Mapping[str, Path] | None = None,
        read_only: bool = False,
    ) -> list[str]:
        """The command line, for this machine's root, that runs something in a container of the image.

        Args:
            argv: what to run.
            environment: on top of the image's.
            mounts: folders or files of the machine, by where they are to be seen.
            read_only: nothing can be written but in ``mounts`` and in ``/tmp``, which is empty; no privilege is left.
        """
        root = shlex.quote(str(self.root))
        lines = [f"mount --bind {root} {root}"]
        machine = {"/usr": Path("/usr"), "/usr/local": self.python}
        if not read_only:
            machine |= {str(path): path for path in self.binds}
        lines += [f"mount --bind -o ro {shlex.quote(str(there))} {root}{here}" for here, there in machine.items()]
        lines += [f"mount --rbind {kernel} {root}{kernel}" for kernel in ("/proc", "/dev")]
        if read_only:
            lines.append(f"mount -t tmpfs -o size=256m,mode=1777 tmpfs {root}/tmp")
        for here, there in (mounts or {}).items():
            target = self.root / here.lstrip("/")
            if there.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.touch()
            lines.append(f"mount --bind {shlex.quote(str(there))} {shlex.quote(str(target))}")
        uid, gid = self.user.split(":")
        drop = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
        if read_only:
            lines.append(f"mount -o remount,bind,ro {root}")
            drop += ["--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
        variables = [f"{name}={value}" for name, value in {**self.environment, **(environment or {})}.items()]
        inside = [*drop, "env", "-i", f"--chdir={self.workdir}", *variables, *argv]
        lines.append(f"exec chroot {root} {shlex.join(inside)}")
        return ["unshare", "--mount", "--propagation", "private", "sh", "-euc", "\n".join(lines)]

    def started(self, *command: str, **how: object) -> list[str]:
        """The same for the entry point, with the image's own command unless another is given."""
        return self.running([*self.entrypoint, *(command or self.command)], **how)  # type: ignore[arg-type]

    def size(self) -> int:
        """Bytes of all files that the image adds to its base."""
        skipped = {self.root / "etc", self.root / "tmp"}
        found = {
            (status.st_dev, status.st_ino): status.st_size
            for folder in self.root.iterdir()
            if folder not in skipped
            for path in folder.rglob("*")
            for status in [path.lstat()]
        }
        return sum(found.values())


class Builder:
    """Builds the stages of a Dockerfile in a folder."""

    def __init__(self, context: Path, folder: Path) -> None:
        """Read what is to be done.

        Args:
            context: the folder with ``Dockerfile`` and ``.dockerignore``.
            folder: for the images; is left to the caller to remove.
        """
        self._context = context
        self._folder = folder
        self.stages = read_stages((context / "Dockerfile").read_text())
        self._ignored = (context / ".dockerignore").read_text().splitlines()
        self._built: dict[str, Image] = {}

    def build(self, name: str) -> Image:
        """Build a stage, after those that it stands on.

        Raises:
            subprocess.CalledProcessError: a step failed; what it said went to standard error.
        """
        if name in self._built:
            return self._built[name]
        stage = self.stages.get(name)
        if stage is None:
            image = self._base(name)
        else:
            below = self.build(stage.base)
            root = self._folder / name
            subprocess.run(["cp", "--archive", str(below.root), str(root)], check=True)
            image = replace(below, root=root, arguments={})
            for step in stage.steps:
                image = self._after(step, image)
        self._built[name] = image
        return image

    def _after(self, step: dockerfile.Command, image: Image) -> Image:
        value: tuple[str, ...] = step.value
        match step.cmd:
            case "RUN":
                assert not step.flags, step.original
                argv = value if step.json else ("/bin/sh", "-c", value[0])
                print(f"RUN {value[0]:.100}", file=sys.stderr, flush=True)
                subprocess.run(image.running(argv, environment=image.arguments), check=True, env={}, stdout=sys.stderr)
            case "COPY":
                self._copy(step, image)
            case "ENV":
                now = dict(image.environment)
                now |= {key: expand(text, now) for key, text in pairs(value).items()}
                return replace(image, environment=now)
            case "ARG":
                key, _, text = value[0].partition("=")
                # Seen by the steps of this stage as it is by default.
                return replace(image, arguments={**image.arguments, key: shlex.split(text)[0] if text else ""})
            case "LABEL":
                return replace(image, labels={**image.labels, **pairs(value)})
            case "WORKDIR":
                (image.root / value[0].lstrip("/")).mkdir(parents=True, exist_ok=True)
                return replace(image, workdir=value[0])
            case "USER":
                return replace(image, user=value[0])
            case "VOLUME":
                return replace(image, volumes=value)
            case "STOPSIGNAL":
                return replace(image, stop_signal=value[0])
            case "HEALTHCHECK":
                assert value[0] == "CMD"
                return replace(image, health=value[1:], health_flags=tuple(step.flags))
            case "ENTRYPOINT":
                return replace(image, entrypoint=value, command=())
            case "CMD":
                return replace(image, command=value)
            case _:
                raise AssertionError(f"Nobody here knows how to: {step.original}")
        return image

    def _copy(self, step: dockerfile.Command, image: Image) -> None:
        *sources, target = step.value
        into = image.root / str(PurePosixPath(image.workdir, target)).lstrip("/")
        from_stage = [flag.removeprefix("--from=") for flag in step.flags]
        for source in sources:
            if from_stage:
                path = self.build(from_stage[0]).root / source.lstrip("/")
                subprocess.run(["cp", "--archive", "--no-target-directory", str(path), str(into)], check=True)
                continue
            files = sorted(path for path in self._all_of(source) if path.is_file())
            assert files, f"nothing is sent to the build for: {step.original}"
            for path in files:
                within = path.relative_to(self._context / source)
                to = into / within if within.parts else into / path.name
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, to)

    def _all_of(self, source: str) -> list[Path]:
        path = self._context / source
        found = path.rglob("*") if path.is_dir() else [path]
        return [each for each in found if is_sent(str(each.relative_to(self._context)), self._ignored)]

    def _base(self, name: str) -> Image:
        """What stands for ``python:3.x`` and ``python:3.x-slim``."""
        found = re.fullmatch(r"python:(\d+\.\d+)(?:-slim)?", name)
        assert found, f"Nobody here knows the base image {name}."
        root = self._folder / name.replace(":", "-")
        for folder in ("etc", "usr", "tmp", "var/tmp", "home", "root", "run", "opt", "proc", "dev", "mnt", "srv"):
            (root / folder).mkdir(parents=True)
        for link in ("bin", "sbin", "lib", "lib64"):
            if Path("/", link).is_symlink():
                (root / link).symlink_to(f"usr/{link}")
        (root / "tmp").chmod(0o1777)
        for file in TAKEN_OVER:
            if Path("/etc", file).exists():
                subprocess.run(["cp", "--archive", "--dereference", f"/etc/{file}", str(root / "etc")], check=True)
        image = Image(root=root, python=python_prefix(found[1]), binds=_way_to_packages(root / "etc" / "pip.conf"))
        for bind in image.binds:
            (root / str(bind).lstrip("/")).mkdir(parents=True, exist_ok=True)
        # Python's own library may lie in /usr/local/lib.
        subprocess.run(image.running(["/sbin/ldconfig"]), check=True, env={})
        return image


def python_prefix(version: str) -> Path:
    """Where a Python of this version is installed with all that belongs to it, by itself.

    Raises:
        LookupError: there is none.
    """
    program = f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    for candidate in (f"/usr/local/bin/{program}", *sorted(pyenv.glob(f"{version}*/bin/{program}")), program):
        where = shutil.which(candidate)
        if where is None:
            continue
        asked = subprocess.run([where, "-c", "import sys; print(sys.base_prefix)"], capture_output=True, text=True)
        prefix = Path(asked.stdout.strip())
        if asked.returncode == 0 and prefix != Path("/usr") and (prefix / "bin" / "python").exists():
            return prefix
    raise LookupError(f"There is no Python {version} beside the system's own, as the base image has it.")


def _way_to_packages(file: Path) -> tuple[Path, ...]:
    """Write down how pip gets at packages on this machine; the folders that it needs for that."""
    said = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    options = {
        key.rpartition(".")[2]: value.strip("'")
        for key, _, value in (line.partition("=") for line in said.splitlines())
        if not key.startswith("install.")
    }
    file.touch(mode=0o600)  # there may be a password in it
    file.write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in options.items()))
    named = {word.removeprefix("file://") for value in options.values() for word in value.split()}
    return tuple(sorted(path for word in named if word.startswith("/") and (path := _folder(Path(word)))))


def _folder(path: Path) -> Path | None:
    """The folder to show for a path that pip was told; files below /etc are there already."""
    return path.parent if path.name == "simple" else path if path.is_dir() and path.parts[1] != "etc" else None
