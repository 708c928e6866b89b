"""Opening checkpoints for reading, and replacing them in one step."""

import os
from contextlib import contextmanager


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
    temporary = os.path.join(
        folder, f".{os.path.basename(path)[:100]}.{os.getpid()}.{os.urandom(6).hex()}.tmp"
    )
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(path):
            os.chmod(temporary, os.stat(path).st_mode & 0o7777)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if hasattr(os, "O_DIRECTORY"):  # make the new name itself durable
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        except OSError:  # not every file system can
            pass
        finally:
            os.close(handle)
