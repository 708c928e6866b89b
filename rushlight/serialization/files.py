"""Opening checkpoints for reading, and replacing them in one step."""

import contextlib
import io
import os
from contextlib import contextmanager

from .._C import _start_writing


def is_path(f):
    return isinstance(f, (str, os.PathLike))


@contextmanager
def opened(f):
    if is_path(f):
        with open(f, "rb") as file:
            yield file
        return
    for method in ("seek", "tell", "read", "readline"):
        if not hasattr(f, method):
            raise AttributeError(
                f"{type(f).__name__!r} object has no attribute {method!r}. You can only torch.load from a file that is "
                "seekable. Please pre-load the data into a buffer like io.BytesIO and try to load from it instead."
            )
    yield f


def is_zip(file):
    start = file.tell()
    signature = file.read(4)
    file.seek(start)
    if not isinstance(signature, bytes):
        raise TypeError(f"expected a file opened in binary mode, but it gives {type(signature).__name__}")
    return signature == b"PK\x03\x04"


@contextmanager
def written_atomically(f):
    """A file object for the content of f. A path gets all of it or keeps its old content, whatever happens."""
    if not is_path(f):
        if not hasattr(f, "write"):
            raise AttributeError(
                "expected 'f' to be string, path, or a file-like object with a 'write' attribute"
            )
        yield f
        f.flush() if hasattr(f, "flush") else None
        return
    path = os.path.realpath(os.fspath(f))  # a link stays, its target is replaced
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise RuntimeError(f"Parent directory {os.path.dirname(os.fspath(f))} does not exist.")
    if os.path.isdir(path):
        raise RuntimeError(f"{os.fspath(f)}: open file failed with strerror: Is a directory")
    if os.path.exists(path) and not os.path.isfile(path):  # a device or a pipe: nothing to protect
        with open(path, "wb") as file:
            yield file
        return
    with _new_file(path) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
        _put_in_place(file, path)
    _sync_folder(folder)


def _temporary_name(path):
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name[:100]}.{os.getpid()}.{os.urandom(6).hex()}.tmp")


def _new_file(path):
    """A new file beside path, open for writing. It has no name where the system can do that: then nothing is left
    behind when the process is killed."""
    if hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd"):
        try:
            handle = os.open(os.path.dirname(path), os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o666)
            return io.BufferedWriter(_WrittenFile(handle, "wb"))
        except OSError:  # not on this file system
            pass
    return io.BufferedWriter(_NamedFile(_temporary_name(path), "xb"))


class _WrittenFile(io.FileIO):
    """A file whose content is sent to the disk while more of it is written, so that little is left to wait for in the end."""

    _WORTH_SENDING = 1 << 23
    _sent = _end = 0

    def write(self, data):
        count = super().write(data)
        self._end += count
        if self._end - self._sent >= self._WORTH_SENDING:
            _start_writing(self.fileno(), self._sent, self._end - self._sent)
            self._sent = self._end
        return count


class _NamedFile(_WrittenFile):
    """A temporary file that is removed when it is closed, unless it has been renamed."""

    def close(self):
        super().close()
        with contextlib.suppress(OSError):
            os.unlink(self.name)


def _put_in_place(file, path):
    """Give the finished file the name `path`, in one step for everybody who looks."""
    if os.path.exists(path):
        os.chmod(file.name, os.stat(path).st_mode & 0o7777)
    name = file.name
    if not isinstance(name, str):
        name = _temporary_name(path)
        # the directory is not used, but without one os.link would not follow the link in /proc
        os.link(f"/proc/self/fd/{file.fileno()}", name, src_dir_fd=file.fileno(), follow_symlinks=True)
    try:
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _sync_folder(folder):
    """Make the new name itself durable."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        except OSError:  # not every file system can
            pass
        finally:
            os.close(handle)
