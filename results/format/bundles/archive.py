"""Open a bundle from elsewhere: everything is checked before any byte is written.

    with opened(Path("minilm.zip")) as bundle:
        bundle.verify()                       # every size and hash, streaming; raises ReportError
        bundle.extract(entries, folder)       # hashes again while it writes

The statements of a zip are not trusted: names and types are compared with the files that a bundle may hold
(`pack.largest`), the number of entries is limited before the directory of the archive is read, and sizes are counted
while entries are unpacked. Reading ends if an entry unpacks to more than the list says, or the archive to more than
`limits.RATIO` times its size.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from results.format import layout, limits
from results.format.bundles.pack import CHUNK, KIND, LIST, chunks, is_weights, largest
from results.format.documents.bundle import BundleList, Entry
from results.format.documents.codec import check_schema, from_json
from results.format.errors import ReportError
from results.format.untrusted import parse, shown, size, slug, text

END = struct.Struct("<4s4H2IH")  # end of the zip's directory, without a comment, which our bundles never have
END64_PLACE = struct.Struct("<4sIQI")
END64 = struct.Struct("<4sQ2H2I4Q")
DIRECTORY_ENTRY = 46 + 4 * limits.KIB  # bytes: the fixed part, and more than any path in a bundle needs
READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Errors of zipfile: its own; a stream that cannot be inflated or ends early; an unknown version or flag; a name that is
# not UTF-8 or an offset above 2^63. Where they are caught, none of our own code runs.
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError)


class Bundle:
    """An archive with checked names and list; `verify` checks the contents, and `extract` checks them again."""

    def __init__(self, path: Path, file: IO[bytes], archive: zipfile.ZipFile) -> None:
        self.path, self._archive = path, archive
        self._size = os.fstat(file.fileno()).st_size
        self._out = 0
        infos = {info.filename: info for info in archive.infolist()}
        _check_names(path, archive.infolist())
        data = b"".join(self._stream(infos[LIST], limits.BUNDLE_LIST))
        raw = parse(data, f"{path}: {LIST}")
        listed = from_json(BundleList, raw, f"{path}: {LIST}")
        if listed.kind != KIND:
            raise ReportError(f"{path}: is not a {KIND}; name one that `bundle` wrote")
        check_schema(raw, path)
        self.suite = slug(listed.suite, f"{path}: suite")
        self.entries = _listed(path, listed.files, set(infos))

    def verify(self) -> None:
        """Read every entry to its end and compare it with the list; raises `ReportError`, writes nothing."""
        for entry in self.entries:
            self._verified(entry, None)

    def extract(self, entries: Sequence[Entry], folder: Path) -> None:
        """Write entries under `folder` and sync them; verified again, because the file may have changed since."""
        self._out = 0
        for entry in entries:
            target = folder.joinpath(*entry.path.split("/"))
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as out:
                self._verified(entry, out)
                out.flush()
                os.fsync(out.fileno())

    def _verified(self, entry: Entry, sink: IO[bytes] | None) -> None:
        digest, count = hashlib.sha256(), 0
        for chunk in self._stream(self._archive.getinfo(entry.path), entry.bytes):
            digest.update(chunk)
            count += len(chunk)
            if sink is not None:
                sink.write(chunk)
        if count != entry.bytes:
            raise ReportError(f"{self.path}: {entry.path} has {count} bytes where its list says {entry.bytes}")
        if digest.hexdigest() != entry.sha256:
            raise ReportError(f"{self.path}: {entry.path} does not have the sha256 of its list; get the bundle again")

    def _stream(self, info: zipfile.ZipInfo, most: int) -> Iterator[bytes]:
        """An entry piece by piece; raises `ReportError` above `most` bytes or the limit of the archive."""
        count = 0
        for chunk in self._unpacked(info):
            count, self._out = count + len(chunk), self._out + len(chunk)
            if count > most:
                raise ReportError(f"{self.path}: {info.filename} unpacks to more than {size(most)}")
            if self._out > limits.RATIO * self._size + CHUNK:
                raise ReportError(f"{self.path}: unpacks to more than {limits.RATIO} times its size")
            yield chunk

    def _unpacked(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        try:
            with self._archive.open(info) as inner:
                yield from chunks(inner)
        except (*ZIP_ERRORS, OSError) as error:
            raise ReportError(f"{self.path}: {info.filename} cannot be read ({text(error, 100)})") from None


@contextmanager
def opened(path: Path) -> Iterator[Bundle]:
    """A bundle to read; raises `ReportError` for anything else."""
    with ExitStack() as stack:
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise ReportError(f"{path}: is not a plain file; name a bundle")
            file = stack.enter_context(path.open("rb"))
            _check_directory(path, file)
        except OSError as error:
            raise ReportError(f"{path}: cannot be read ({error.strerror or error}); check the path") from None
        try:
            archive = stack.enter_context(zipfile.ZipFile(file))
        except (*ZIP_ERRORS, OSError) as error:
            raise ReportError(f"{path}: is a damaged zip ({text(error, 100)}); get it again") from None
        yield Bundle(path, file, archive)


def _check_directory(path: Path, file: IO[bytes]) -> None:
    """Check the size of the archive's directory, which zipfile would read into memory as a whole."""
    none = ReportError(f"{path}: is not a bundle; name a file that `python -m benchmarks bundle` wrote")
    end_at = file.seek(0, os.SEEK_END) - END.size
    if end_at < 0:
        raise none
    file.seek(0)
    begin = file.read(4)
    file.seek(end_at)
    signature, _, _, _, count, length, _, comment = END.unpack(file.read(END.size))
    if begin != b"PK\3\4" or signature != b"PK\5\6" or comment:
        raise none
    if count == 0xFFFF or length == 0xFFFFFFFF:
        count, length = _directory64(path, file, end_at)
    if count > limits.BUNDLE_FILES or length > limits.BUNDLE_FILES * DIRECTORY_ENTRY:
        raise ReportError(f"{path}: has {count:,} entries, a bundle has at most {limits.BUNDLE_FILES:,}")
    if length > (count + 1) * DIRECTORY_ENTRY:
        raise ReportError(f"{path}: its directory is longer than {count:,} entries need; get the bundle again")
    file.seek(0)


def _directory64(path: Path, file: IO[bytes], end_at: int) -> tuple[int, int]:
    """Number of entries, and bytes of the directory, of an archive above 4 GiB or 65,534 entries."""
    damaged = ReportError(f"{path}: is a damaged zip; get it again")
    if end_at < END64_PLACE.size:
        raise damaged
    file.seek(end_at - END64_PLACE.size)
    signature, _, place, _ = END64_PLACE.unpack(file.read(END64_PLACE.size))
    if signature != b"PK\6\7" or place > end_at:
        raise damaged
    file.seek(place)
    data = file.read(END64.size)
    if len(data) < END64.size or data[:4] != b"PK\6\6":
        raise damaged
    found = END64.unpack(data)
    return found[7], found[8]


def _check_names(path: Path, infos: Sequence[zipfile.ZipInfo]) -> None:
    """Allow only plain files of a bundle, each once."""
    seen: set[str] = set()
    for info in infos:
        name = info.filename
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.orig_filename != name or (name != LIST and largest(name) is None):
            raise ReportError(f"{path}: {shown(info.orig_filename)} is not a file of a bundle; nothing was imported")
        if info.is_dir() or kind not in (0, stat.S_IFREG):
            raise ReportError(f"{path}: {shown(name)} is a link or not a plain file; nothing was imported")
        if info.flag_bits & 0x1 or info.compress_type not in READABLE:
            raise ReportError(f"{path}: {shown(name)} is encrypted or packed in an unknown way")
        if name.casefold() in seen:
            raise ReportError(f"{path}: {shown(name)} is in it twice; nothing was imported")
        seen.add(name.casefold())
    if LIST not in seen:
        raise ReportError(f"{path}: has no {LIST}, so it is not a bundle; name one that `bundle` wrote")


def _listed(path: Path, entries: tuple[Entry, ...], names: set[str]) -> tuple[Entry, ...]:
    """The list's entries, which must have possible sizes and be exactly the files of the archive."""
    where = f"{path}: {LIST}: files"
    for entry in entries:
        _check_entry(entry, where)
    listed = [entry.path for entry in entries]
    if len(set(listed)) != len(listed):
        raise ReportError(f"{where}: a file is listed twice; nothing was imported")
    if odd := sorted((names - {LIST}) ^ set(listed)):
        which = "not on the list" if odd[0] in names else "on the list but missing"
        raise ReportError(f"{path}: {shown(odd[0])} is {which}; get the bundle again")
    if layout.SUITE not in listed:
        raise ReportError(f"{path}: has no {layout.SUITE}, so its runs are unknown; get the bundle again")
    for kind, most in ((False, limits.BUNDLE_BYTES), (True, limits.BUNDLE_WEIGHTS)):
        if sum(entry.bytes for entry in entries if is_weights(entry.path) is kind) > most:
            raise ReportError(f"{path}: unpacks to more than {size(most)}; ask for a smaller bundle")
    return entries


def _check_entry(entry: Entry, where: str) -> None:
    name: Any = entry.path  # as read, of any type
    count: Any = entry.bytes
    digest: Any = entry.sha256
    most = largest(name) if isinstance(name, str) else None
    if not isinstance(name, str) or most is None:
        raise ReportError(f"{where}: {shown(name)} is not a file of a bundle; nothing was imported")
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= most:
        raise ReportError(f"{where}: {name} has {shown(count)} bytes by its list; at most {size(most)} are allowed")
    if not isinstance(digest, str) or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise ReportError(f"{where}: {name} has no sha256; get the bundle again")
