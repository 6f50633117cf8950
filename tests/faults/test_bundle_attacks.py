"""Bundles that somebody has been at: refused in one line before anything is written, whatever their list says."""

from __future__ import annotations

import json
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import strategies as st

from reports import ReportError, export_table
from results.format import limits
from results.format.bundles.pack import largest, pack
from tests.faults import corpus
from tests.faults.bundles import bring, config_of, contents, forged, refused, tree, write
from tests.faults.fuzz import EXAMPLES, FEW_EXAMPLES, JSON, fuzz, places, put


def test_a_bit_flipped_anywhere_is_seen(bundle, tmp_path):
    files = contents(bundle)
    name = config_of(files)
    files[name] = files[name].replace(b'"seed"', b'"Seed"')
    refused(write(tmp_path / "x.zip", files), tmp_path / "to", "does not have the sha256 of its list")


def test_nothing_is_unpacked_before_the_last_hash_is_verified(bundle, tmp_path, monkeypatch):
    files = contents(bundle)
    last = list(files)[-1]
    files[last] = files[last][:-1] + b"?"

    def never(root):
        raise AssertionError(f"{root} was touched")

    monkeypatch.setattr("results.format.bundles.importing._staging", never)
    refused(write(tmp_path / "x.zip", files), tmp_path / "to", "does not have the sha256 of its list")


def test_forged_hashes_do_not_help(bundle, tmp_path):
    """The list is made to fit; settings, score, predictions and log still tell on each other."""

    def other_settings(files):
        name = config_of(files)
        files[name] = files[name].replace(b'"batch_size": 32', b'"batch_size": 64')

    def better_score(files):
        name = config_of(files).replace("config", "result")
        result = json.loads(files[name])
        for checkpoint in ("last", "selected"):
            result[checkpoint] |= {"score": 99.0, "metrics": {"accuracy": 0.99}}
        files[name] = json.dumps(result).encode()

    def score_without_metrics(files):
        name = config_of(files).replace("config", "result")
        result = json.loads(files[name])
        result["last"]["score"] += 1
        files[name] = json.dumps(result).encode()

    def other_manifest(files):
        name = config_of(files).replace("config", "manifest")
        files[name] = files[name].replace(b"c0de", b"c0ff")

    def shorter_log(files):
        name = config_of(files).replace("config.json", "metrics.jsonl")
        files[name] = files[name].partition(b"\n")[0] + b"\n"

    for i, (change, match) in enumerate((
        (other_settings, "whose id is their hash"), (better_score, "score"), (score_without_metrics, "not the mean"),
        (other_manifest, "code_hash differs"), (shorter_log, "evaluations"),
    )):  # fmt: skip
        refused(forged(bundle, tmp_path / f"{i}.zip", change), tmp_path / "to" / "x", match)


def test_a_forged_list_cannot_make_an_import_local(bundle, tmp_path):
    """The mark is the importer's: a bundle may not bring one, in the run, in the root or under another spelling."""
    run = config_of(contents(bundle)).rpartition("/")[0]
    for i, name in enumerate((f"{run}/imported.json", "imported.json", f"{run}/Imported.json")):
        file = forged(bundle, tmp_path / f"{i}.zip", lambda files, name=name: files.update({name: b"{}"}))
        refused(file, tmp_path / "to" / "x", "is not a file of a bundle")
    document = json.loads(contents(bundle)["bundle.json"]) | {"origin": "", "imported": False}
    files = contents(bundle) | {"bundle.json": json.dumps(document).encode()}
    bring(write(tmp_path / "claims.zip", files), tmp_path / "claims")
    assert set(export_table(tmp_path / "claims").origin) == {"imported"}


@pytest.mark.parametrize("name", [*corpus.PATHS, "rte/kd/x.json", "rte/kd/seed-1-0123456789abcdef/../result.json"])
def test_a_name_that_leads_elsewhere_is_refused(bundle, tmp_path, name):
    file = forged(bundle, tmp_path / "x.zip", lambda files: files.update({name: b"{}"}))
    refused(file, tmp_path / "to", "not a file of a bundle")


@EXAMPLES
def test_no_path_of_a_bundle_leaves_its_folder(examples):
    parts = st.sampled_from(
        ["..", ".", "", "rte", "kd", "seed-1-0123456789abcdef", "config.json", "successor", "/", "\\"]
    )

    def check(name: str) -> None:
        if largest(name) is not None:
            assert not Path(name).is_absolute()
            assert ".." not in name.split("/")
            assert name == Path(name).as_posix()

    fuzz(check, examples, name=st.one_of(st.lists(parts, max_size=7).map("/".join), st.text(max_size=60)))


def with_kind(path: Path, name: str, mode: int) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo(name)
        info.create_system, info.external_attr = 3, mode << 16
        archive.writestr(info, "/etc/passwd")


def test_links_and_twins_and_strangers_are_refused(bundle, tmp_path):
    files = contents(bundle)
    name = config_of(files)
    kept = {n: d for n, d in files.items() if n != name}
    with_kind(write(tmp_path / "link.zip", kept), name, stat.S_IFLNK | 0o777)
    refused(tmp_path / "link.zip", tmp_path / "to", "is a link")
    with pytest.warns(UserWarning, match="Duplicate name"):
        with_kind(write(tmp_path / "twin.zip", files), name, stat.S_IFREG | 0o644)
    refused(tmp_path / "twin.zip", tmp_path / "to", "twice")
    with_kind(write(tmp_path / "case.zip", files), name.replace("rte", "RTE"), stat.S_IFREG | 0o644)
    refused(tmp_path / "case.zip", tmp_path / "to", "twice")
    refused(write(tmp_path / "less.zip", kept), tmp_path / "to", "on the list but missing")
    stranger = name.replace("seed-1-", "seed-7-")
    refused(write(tmp_path / "more.zip", files | {stranger: b"{}"}), tmp_path / "to", "not on the list")


@pytest.mark.parametrize(
    "name", ["model.bin", "pytorch_model.bin", "x.pkl", "model.safetensors", "model.py", "tokenizer.json"]
)
def test_pickles_are_refused_under_any_name(results, tmp_path, name):
    weights = pack(results, tmp_path / "weights.zip", weights=True).file
    run = config_of(contents(weights), "theseus").rpartition("/")[0]
    pickled = b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94."
    file = forged(weights, tmp_path / "x.zip", lambda files: files.update({f"{run}/successor/{name}": pickled}))
    refused(file, tmp_path / "to", "not a file of a bundle|not a safetensors file|not readable as JSON")


def test_a_model_that_names_code_is_refused(results, tmp_path):
    weights = pack(results, tmp_path / "weights.zip", weights=True).file

    def change(files):
        name = next(n for n in files if n.endswith("successor/config.json"))
        files[name] = b'{"model_type": "bert", "auto_map": {"AutoModel": "evil.Model"}}'

    refused(forged(weights, tmp_path / "x.zip", change), tmp_path / "to", "auto_map names code")


# Bombs


def test_a_bomb_goes_off_at_the_cap_of_the_archive(bundle, tmp_path):
    """20 MB of zeros packed into 20 kB, on a list that tells the truth."""
    name = config_of(contents(bundle)).replace("config.json", "metrics.jsonl")
    bomb = forged(
        bundle, tmp_path / "x.zip", lambda files: files.update({name: bytes(20 * 2**20)}), zipfile.ZIP_DEFLATED
    )
    assert bomb.stat().st_size < 2**20
    refused(bomb, tmp_path / "to", "unpacks to more than 100 times its size")


def test_a_lie_about_a_size_is_seen_while_reading(bundle, tmp_path):
    """List and header say 100 bytes where 20 MB come out."""
    files = contents(bundle)
    name = config_of(files).replace("config.json", "metrics.jsonl")
    document = json.loads(files["bundle.json"])
    next(entry for entry in document["files"] if entry["path"] == name)["bytes"] = 100
    files |= {name: b"x" * 20 * 2**20, "bundle.json": json.dumps(document).encode()}
    refused(write(tmp_path / "list.zip", files), tmp_path / "to", "unpacks to more than 100 bytes")
    data = bytearray(write(tmp_path / "header.zip", files, zipfile.ZIP_DEFLATED).read_bytes())
    for before, offset in ((46, 24), (30, 22)):  # in the directory, and in front of the entry itself
        at = data.rindex(name.encode()) if before == 46 else data.index(name.encode(), data.index(name.encode()))
        data[at - before + offset : at - before + offset + 4] = struct.pack("<I", 100)
    (tmp_path / "header.zip").write_bytes(data)
    refused(tmp_path / "header.zip", tmp_path / "to")


def test_absurd_counts_and_sizes_are_refused_unread(bundle, tmp_path, monkeypatch):
    files = contents(bundle)
    document = json.loads(files["bundle.json"])
    next(entry for entry in document["files"] if entry["path"] == config_of(files))["bytes"] = 2**40
    huge = write(tmp_path / "huge.zip", files | {"bundle.json": json.dumps(document).encode()})
    refused(huge, tmp_path / "to", "at most 1 MiB are allowed")
    monkeypatch.setattr(limits, "BUNDLE_FILES", 5)
    refused(bundle, tmp_path / "to", "a bundle has at most 5")
    monkeypatch.undo()
    monkeypatch.setattr(limits, "BUNDLE_BYTES", 1000)
    refused(bundle, tmp_path / "to", "ask for a smaller bundle")
    monkeypatch.undo()
    monkeypatch.setattr(limits, "BUNDLE_LIST", 1000)
    refused(bundle, tmp_path / "to", "unpacks to more than 1000 bytes")


def test_a_directory_of_millions_of_entries_is_not_read(bundle, tmp_path):
    data = bytearray(bundle.read_bytes())
    data[-14:-10] = struct.pack("<HH", 65_535, 65_535)  # both counts; the truth would stand in a 64-bit record
    (tmp_path / "x.zip").write_bytes(data)
    refused(tmp_path / "x.zip", tmp_path / "to", "damaged zip|not a bundle")
    data[-14:-10], data[-10:-6] = struct.pack("<HH", 5, 5), struct.pack("<I", 2**31)
    (tmp_path / "x.zip").write_bytes(data)
    refused(tmp_path / "x.zip", tmp_path / "to", "has at most|longer than")
    data[-10:-6] = struct.pack("<I", 2**20)
    (tmp_path / "x.zip").write_bytes(data)
    refused(tmp_path / "x.zip", tmp_path / "to", "longer than")


def test_a_full_disk_is_seen_before_anything_is_written(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("results.format.bundles.importing.SPARE", 2**60)
    refused(bundle, tmp_path / "to", "the bundle needs .* are free")


@pytest.mark.parametrize("data", [b"", b"PK\5\6" + bytes(18), b"\x80\x04K\x01.", b"PK\3\4" + bytes(60), bytes(5000)])
def test_what_is_no_zip_is_one_line(tmp_path, data):
    (tmp_path / "x.zip").write_bytes(data)
    refused(tmp_path / "x.zip", tmp_path / "to", "not a bundle|damaged")
    with pytest.raises(ReportError, match="cannot be read"):
        bring(tmp_path / "none.zip", tmp_path / "to")
    with pytest.raises(ReportError, match="not a plain file"):
        bring(tmp_path, tmp_path / "to")


# Fuzz


def brought(file: Path, into: Path) -> bool:
    """Did the import work? If not, it said so in one line and left nothing."""
    try:
        bring(file, into)
    except ReportError as error:
        said = str(error)
    else:
        return True
    assert "\n" not in said
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    return False


@EXAMPLES
def test_a_damaged_archive_is_refused_or_imports_the_truth(bundle, examples, tmp_path_factory):
    """Bytes changed, cut or inserted anywhere: either one line, or the very files that were packed."""
    data, good = bundle.read_bytes(), contents(bundle)

    def check(at: int, cut: int, new: bytes) -> None:
        folder = tmp_path_factory.mktemp("damaged")
        (folder / "x.zip").write_bytes(data[:at] + new + data[at + cut :])
        if brought(folder / "x.zip", folder / "to"):
            found = tree(folder / "to")
            assert all(found[n] == d for n, d in good.items() if n not in ("bundle.json", "speed.json"))

    at = st.one_of(st.integers(0, len(data)), st.integers(len(data) - 3000, len(data)), st.integers(0, 3000))
    fuzz(check, examples, at=at, cut=st.integers(0, 50), new=st.binary(max_size=50))


@FEW_EXAMPLES
def test_any_list_is_refused_or_tells_the_truth(bundle, examples, tmp_path_factory):
    files = contents(bundle)
    known = places(json.loads(files["bundle.json"]))

    def check(place: tuple, value: object) -> None:
        folder, document = tmp_path_factory.mktemp("list"), json.loads(files["bundle.json"])
        put(document, place, value)
        if document == json.loads(files["bundle.json"]):
            return
        text = json.dumps(document).encode("utf-8", "surrogatepass")
        if brought(write(folder / "x.zip", files | {"bundle.json": text}), folder / "to"):
            assert place == ("weights",), "only what is said and not used may change"

    fuzz(check, examples, place=st.sampled_from(known), value=JSON)


@FEW_EXAMPLES
def test_any_run_file_is_refused_or_read_by_a_report(bundle, examples, tmp_path_factory):
    """A list that fits whatever is in the files: what is imported can be exported and bundled again."""
    names = [n for n in contents(bundle) if n.endswith(("config.json", "manifest.json", "result.json", "suite.json"))]

    def check(name: str, draw: st.DataObject, value: object) -> None:
        folder = tmp_path_factory.mktemp("run")

        def change(files):
            document = json.loads(files[name])
            put(document, draw.draw(st.sampled_from(places(document))), value)
            files[name] = json.dumps(document).encode("utf-8", "surrogatepass")

        if brought(forged(bundle, folder / "x.zip", change), folder / "to"):
            assert set(export_table(folder / "to").origin) <= {"imported"}
            pack(folder / "to", folder / "again.zip")

    fuzz(check, examples, name=st.sampled_from(names), draw=st.data(), value=JSON)
