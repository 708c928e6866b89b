"""The zip container of checkpoints: stored (never compressed) entries whose data begins at multiples of 64.

Written here are exactly the bytes that PyTorch writes. Reading takes any zip file with stored or deflated entries,
checks every size against the file before it allocates anything, and the checksum of what it read where one is set.
"""

import struct
import zlib

from .._C import _crc32

_LOCAL, _CENTRAL, _DATA = 0x04034B50, 0x02014B50, 0x08074B50
_END, _END64, _LOCATOR64 = 0x06054B50, 0x06064B50, 0x07064B50
_MAX32 = 0xFFFFFFFF
_CHUNK = 1 << 20  # small enough to be in the cache still when it is used for the second time
_UNPACK_FREELY = 1 << 28


def _path(top, name):
    return f"{top}/{name}" if top else name


class ArchiveWriter:
    """Writes records under one top folder ("": none) to a file object."""

    def __init__(self, file, top, alignment=64, crc=True):
        self._file, self._top, self._alignment, self._crc = file, top, alignment, crc
        self._offset = 0
        self._entries = []

    def _write(self, data):
        self._file.write(data)
        self._offset += len(data)

    def write(self, name, data):
        """Append a record; data is anything with a buffer."""
        data = memoryview(data).cast("B")
        path, size, begin = _path(self._top, name).encode(), len(data), self._offset
        flags = (
            0x0808 if size else 0x0800
        )  # a data descriptor follows (not after an empty record); UTF-8 name
        extra64 = self._extra64(size, begin)
        start = begin + 30 + len(path) + len(extra64) + 4
        padding = -start % self._alignment
        extra = extra64 + b"FB" + struct.pack("<H", padding) + b"Z" * padding
        self._write(struct.pack("<IHHHHHIIIHH", _LOCAL, 0, flags, 0, 0, 0, 0, 0, 0, len(path), len(extra)))
        self._write(path + extra)
        crc = 0
        for chunk in range(0, size, _CHUNK):
            piece = data[chunk : chunk + _CHUNK]
            if self._crc:
                crc = _crc32(piece, crc)
            self._write(piece)
        if size:
            form = "<IIQQ" if extra64 else "<IIII"
            self._write(struct.pack(form, _DATA, crc, size, size))
        self._entries.append((path, flags, crc, size, begin))

    @staticmethod
    def _extra64(size, offset):
        numbers = ([size, size] if size >= _MAX32 else []) + ([offset] if offset >= _MAX32 else [])
        return struct.pack(f"<HH{len(numbers)}Q", 1, 8 * len(numbers), *numbers) if numbers else b""

    def serialization_id(self):
        """40 digits that depend on the names and the content so far."""
        names = _crc32(b"\0".join(entry[0] for entry in self._entries))
        content = 0
        for entry in self._entries:
            content = _crc32(struct.pack("<I", entry[2]), content)
        return f"{names:020d}{content:020d}".encode()

    def finish(self):
        """Write the directory; the archive is complete after it."""
        begin = self._offset
        for path, flags, crc, size, offset in self._entries:
            extra = self._extra64(size, offset)
            size, offset = min(size, _MAX32), min(offset, _MAX32)
            header = (0, 0, flags, 0, 0, 0, crc, size, size, len(path), len(extra), 0, 0, 0, 0, offset)
            self._write(struct.pack("<IHHHHHHIIIHHHHHII", _CENTRAL, *header) + path + extra)
        end, count, size = self._offset, len(self._entries), self._offset - begin
        self._write(struct.pack("<IQHHIIQQQQ", _END64, 44, 0x031E, 0x2D, 0, 0, count, count, size, begin))
        self._write(struct.pack("<IIQI", _LOCATOR64, 0, end, 1))
        few = min(count, 0xFFFF)
        self._write(struct.pack("<IHHHHIIH", _END, 0, 0, few, few, min(size, _MAX32), min(begin, _MAX32), 0))


def _broken(what, detail):
    detail = f" {detail}" if detail else ""
    return RuntimeError(
        f"PytorchStreamReader failed {what}.{detail} The file is truncated or damaged: it was not saved or copied "
        "completely, or was changed afterwards."
    )


class _Entry:
    """A line of the directory, and (once looked up) where its data lies."""

    def __init__(self, method, packed, size, header, crc):
        self.method, self.packed, self.size, self.header, self.crc = method, packed, size, header, crc
        self.data = None


class ArchiveReader:
    """Records of a seekable file object, by their names below the top folder.

    Args:
        check: compare checksums. Zero means that the writer left them out.
    """

    def __init__(self, file, check=True):
        self._file, self._check = file, check
        self._length = file.seek(0, 2)
        try:
            self._entries = self._directory()
        except struct.error:
            raise self._no_directory("An entry is cut off.") from None
        if not self._entries:
            raise self._no_directory("It has no entries.")
        self._refuse_bombs()
        self.top = next(iter(self._entries)).partition("/")[0]

    def _refuse_bombs(self):
        """A small file whose directory promises far more than it can hold."""
        if sum(entry.packed for entry in self._entries.values()) > self._length:
            raise self._no_directory("Its entries overlap.")
        unpacked = sum(entry.size for entry in self._entries.values() if entry.method == 8)
        if unpacked > max(_UNPACK_FREELY, 100 * self._length):
            raise self._no_directory(
                f"{unpacked} bytes are said to be compressed into {self._length}: if you trust the file, unpack it and "
                "zip it again without compression."
            )

    @staticmethod
    def _no_directory(detail=""):
        return _broken("reading zip archive: failed finding central directory", detail)

    def _at(self, offset, size):
        if offset < 0 or size < 0 or offset + size > self._length:
            raise self._no_directory("A position lies outside the file.")
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) != size:
            raise self._no_directory()
        return data

    def _directory(self):
        tail_size = min(self._length, 22 + 0xFFFF + 20)
        tail_begin = self._length - tail_size
        tail = self._at(tail_begin, tail_size)
        where = tail.rfind(struct.pack("<I", _END))
        if where < 0 or where + 22 > len(tail):
            raise self._no_directory()
        count, size, offset = struct.unpack_from("<HII", tail, where + 10)
        end = tail_begin + where
        if where >= 20 and tail[where - 20 : where - 16] == struct.pack("<I", _LOCATOR64):
            # the record's own position is counted from the archive's begin; it lies just before its locator
            end -= 76
            record = self._at(end, 56)
            if record[:4] != struct.pack("<I", _END64):
                raise self._no_directory("The zip64 record is missing.")
            count, size, offset = struct.unpack_from("<QQQ", record, 32)
        shift = end - size - offset  # bytes in front of the archive
        if shift < 0 or count * 46 > size:
            raise self._no_directory("Its sizes do not fit together.")
        return self._parse(self._at(end - size, size), count, shift)

    def _parse(self, directory, count, shift):
        entries, at = {}, 0
        for _ in range(count):
            fields = struct.unpack_from("<IHHHHHHIIIHHHHHII", directory, at)
            if fields[0] != _CENTRAL:
                raise self._no_directory("An entry is damaged.")
            method, crc, packed, size, name_length, extra_length, comment = (fields[4], *fields[7:13])
            offset = fields[16]
            name = directory[at + 46 : at + 46 + name_length].decode("utf-8", "replace")
            extra = directory[at + 46 + name_length : at + 46 + name_length + extra_length]
            if _MAX32 in (packed, size, offset):
                size, packed, offset = self._wide(extra, size, packed, offset)
            if name in entries:
                raise self._no_directory("A name occurs twice.")
            entries[name] = _Entry(method, packed, size, offset + shift, crc)
            at += 46 + name_length + extra_length + comment
        return entries

    @staticmethod
    def _wide(extra, *values):
        """The 64-bit values of the zip64 extra field, for those that did not fit 32 bits."""
        at = 0
        while at + 4 <= len(extra):
            kind, length = struct.unpack_from("<HH", extra, at)
            if kind == 1:
                numbers = iter(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
                return tuple(next(numbers, v) if v == _MAX32 else v for v in values)
            at += 4 + length
        return values

    def __contains__(self, name):
        return _path(self.top, name) in self._entries

    def names(self):
        """Names of all entries, with their folders."""
        return list(self._entries)

    def _find(self, name):
        entry = self._entries.get(_path(self.top, name))
        if entry is None:
            raise _broken(f"locating file {name}: file not found", "")
        if entry.data is None:
            header = self._at(entry.header, 30)
            if header[:4] != struct.pack("<I", _LOCAL):
                raise _broken(f"reading file {name}", "Its header is damaged.")
            name_length, extra_length = struct.unpack_from("<HH", header, 26)
            if self._at(entry.header + 30, name_length) != _path(self.top, name).encode():
                raise _broken(f"reading file {name}", "Its header has another name than the directory.")
            entry.data = entry.header + 30 + name_length + extra_length
        if entry.data + entry.packed > self._length:
            raise _broken(f"reading file {name}", "It reaches beyond the end of the file.")
        if entry.method not in (0, 8) or (entry.method == 0 and entry.packed != entry.size):
            raise _broken(f"reading file {name}", f"It is packed in an unknown way (method {entry.method}).")
        if entry.method == 8 and entry.size > 1032 * entry.packed + 1032:  # deflate cannot shrink more
            raise _broken(f"reading file {name}", "Its unpacked size is impossible.")
        return entry

    def size(self, name):
        """Bytes of a record, unpacked."""
        return self._find(name).size

    def offset(self, name):
        """Where a record's bytes lie in the file, None if they are compressed."""
        entry = self._find(name)
        return entry.data if entry.method == 0 else None

    def read(self, name):
        """A record as bytes."""
        entry = self._find(name)
        self._file.seek(entry.data)
        data = self._file.read(entry.packed)
        if entry.method == 8:
            data = self._unpack(name, data, entry.size)
        if len(data) != entry.size:
            raise _broken(f"reading file {name}", "It is shorter than announced.")
        self._verify(name, entry, _crc32(data) if self._check else 0)
        return data

    def _verify(self, name, entry, crc):
        if self._check and entry.crc and crc != entry.crc:
            raise _broken(f"reading file {name}", "Its checksum does not match its content.")

    @staticmethod
    def _unpack(name, data, size):
        machine = zlib.decompressobj(-15)
        try:
            return machine.decompress(data, size)
        except zlib.error as error:
            raise _broken(f"reading file {name}", f"Decompression failed: {error}.") from None

    def read_into(self, name, target):
        """Fill a writable buffer of exactly the record's size."""
        entry = self._find(name)
        view = memoryview(target).cast("B")
        if entry.method == 8 or not hasattr(self._file, "readinto"):
            view[:] = self.read(name)
            return
        self._file.seek(entry.data)
        check = self._check and entry.crc
        done = crc = 0
        while done < len(view):
            got = self._file.readinto(view[done : done + _CHUNK])
            if not got:
                raise _broken(f"reading file {name}", "It is shorter than announced.")
            if check:
                crc = _crc32(view[done : done + got], crc)
            done += got
        self._verify(name, entry, crc)
