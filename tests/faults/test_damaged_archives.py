"""Every kind of damage for which zipfile has an error of its own: each is one line, and each is provoked here."""

from __future__ import annotations

import struct
import zipfile
import zlib

import pytest

from tests.faults.bundles import refused

DATA = b'{"schema": 1}' * 20


def one_entry(
    name: bytes = b"bundle.json", version: int = 45, flags: int = 0, method: int = 0, packed: bytes = DATA,
    offset: int = 0, crc: int = zlib.crc32(DATA), length: int = 0,
) -> bytes:  # fmt: skip
    """A zip of one entry, every field as told (APPNOTE 4.3.7, 4.3.12, 4.3.16); its offset stands in a 64-bit field."""
    sizes = struct.pack("<3I", crc, length or len(packed), length or len(DATA))
    local = struct.pack("<4s5H", b"PK\3\4", version, flags, method, 0, 33) + sizes
    local += struct.pack("<2H", len(name), 0) + name + packed
    extra = struct.pack("<HHQ", 1, 8, offset)
    entry = struct.pack("<4s6H", b"PK\1\2", 45, version, flags, method, 0, 33) + sizes
    entry += struct.pack("<5H2I", len(name), len(extra), 0, 0, 0, 0, 0xFFFFFFFF) + name + extra
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(entry), len(local), 0)
    return local + entry + end


UNENDED = b"\0\xff\xff\0\0" + DATA  # a stored block of 65,535 bytes: longer than the whole file
DAMAGE = {
    "checksum": (zipfile.BadZipFile, one_entry(crc=1)),
    "stream": (zlib.error, one_entry(method=zipfile.ZIP_DEFLATED, packed=b"\xff" * 30)),
    # newer Pythons see that it overlaps the directory, older ones read on to the end of the file
    "end": ((EOFError, zipfile.BadZipFile), one_entry(method=zipfile.ZIP_DEFLATED, packed=UNENDED, length=100_000)),
    "version": (NotImplementedError, one_entry(version=255)),
    "patched": (NotImplementedError, one_entry(flags=0x20)),
    "name": (UnicodeDecodeError, one_entry(name=b"bundle\xff.json", flags=0x800)),
    "offset above the largest": (ValueError, one_entry(offset=2**63)),
    "offset where no file can be": (OSError, one_entry(offset=2**63 - 1)),
}


def test_the_archive_itself_is_sound(tmp_path):
    """So what is refused below is refused for its damage."""
    (tmp_path / "x.zip").write_bytes(one_entry())
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert archive.read("bundle.json") == DATA


@pytest.mark.parametrize("kind", DAMAGE)
def test_each_kind_of_damage_is_one_line(kind, tmp_path):
    error, data = DAMAGE[kind]
    file = tmp_path / "x.zip"
    file.write_bytes(data)
    with pytest.raises(error), zipfile.ZipFile(file) as archive:
        archive.read(archive.infolist()[0])
    refused(file, tmp_path / "to", "damaged zip|cannot be read")


@pytest.mark.parametrize("flag", [0x1, 0x41])
def test_an_encrypted_entry_is_refused_before_it_is_opened(flag, tmp_path):
    (tmp_path / "x.zip").write_bytes(one_entry(flags=flag))
    refused(tmp_path / "x.zip", tmp_path / "to", "is encrypted or packed")


def test_a_fault_of_our_own_is_no_damage(tmp_path, monkeypatch):
    """What is raised outside zipfile passes through: it is a bug to be seen, not an archive to get again."""
    (tmp_path / "x.zip").write_bytes(one_entry())
    monkeypatch.setattr("results.format.bundles.archive._check_names", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        refused(tmp_path / "x.zip", tmp_path / "to", "damaged")
    monkeypatch.setattr("results.format.bundles.archive._check_names", lambda *_: int("x"))
    with pytest.raises(ValueError, match="invalid literal"):
        refused(tmp_path / "x.zip", tmp_path / "to", "damaged")
