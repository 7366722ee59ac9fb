"""Files and folders that are written whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lrcn.errors import LrcnError


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; what was written there becomes `path` when the block ends well.

    A device or a pipe (/dev/null, /dev/stdout) is given itself: renaming would put a file in its place.

    Raises:
        LrcnError: the folder cannot be written, or the disk is full; nothing is left behind.
    """
    path = Path(path)
    if _is_stream(path):
        with _readable_errors(path):
            yield path
        return
    with _readable_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix is kept because encoders choose a container by it.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Gives a temporary folder beside `path`; it replaces `path` when the block ends well."""
    path = Path(path)
    with _readable_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            for member in temporary.iterdir():
                # Some libraries write files that only their owner may read.
                member.chmod((0o777 if member.is_dir() else 0o666) & ~_umask())
            if path.exists():
                # A rename cannot replace a folder that holds files, so the old one steps aside first.
                aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
                try:
                    path.replace(aside / "old")
                    temporary.replace(path)
                except BaseException:
                    if not path.exists() and (aside / "old").exists():
                        (aside / "old").replace(path)
                    raise
                finally:
                    shutil.rmtree(aside, ignore_errors=True)
            else:
                temporary.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Writes text (UTF-8) or bytes to `path`, whole or not at all."""
    data = content.encode() if isinstance(content, str) else content
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def _readable_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise LrcnError(f"Cannot write {path}: {reason}; choose another place or make room there.") from error


def _is_stream(path: Path) -> bool:
    # What a process has open may be a file behind such a name, but it is the name that says how it is meant.
    open_already = str(path.absolute()).startswith(("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/"))
    return open_already or (path.exists() and not path.is_file() and not path.is_dir())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
