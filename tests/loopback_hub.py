"""A small hub on this machine, for huggingface_hub's and datasets' own clients: reading at a commit, and pushing.

    with serving(tmp_path / "pushed") as hub:
        hub.add("models", "me/bert", tiny.save_encoder(tmp_path / "bert"), "1" * 40)
        subprocess.run([...], env=os.environ | hub.environment(tmp_path / "home"))

It answers as the real one does: revision, tree in pages, files by ETag and commit. Large files come by a redirect to a
second address, with ranges. What can go wrong there is set per test: `gated`, `cuts`. The clients read HF_ENDPOINT when
they are imported, so a test starts a process for them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

PAGE = 3  # entries of a tree on one page; the real hub has 1,000
LARGE = (".safetensors", ".parquet")
REPOSITORY = r"(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)"
API = re.compile(
    rf"/api/{REPOSITORY}/(?P<what>revision|tree|paths-info|preupload|commit)/(?P<revision>[^/]+)(?P<path>/.*)?"
)
RESOLVE = re.compile(r"/(?P<data>datasets/)?(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")


@dataclass
class Hub:
    """`files` by kind, name and commit. `gated`: names of repositories that ask for a licence. `cuts`: by the end of a
    file's name, after how many bytes each of its next downloads breaks off. `asked`: every request, as method and path.
    `close()`: from now on nothing listens at `address`."""

    pushed: Path
    address: str = ""
    files: dict[tuple[str, str, str], dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    close: Callable[[], None] = lambda: None

    def add(self, kind: str, name: str, folder: Path, commit: str) -> None:
        """Offer a folder's files as a repository at `commit`."""
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        self.files[kind, name, commit] = {str(path.relative_to(folder)): path.read_bytes() for path in paths}

    def environment(self, home: Path) -> dict[str, str]:
        """For a process that is to meet this hub, with a cache of its own."""
        return {"HF_ENDPOINT": self.address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(home), "HF_TOKEN": ""}

    def got(self, part: str) -> list[str]:
        """The requests for the content of large files whose address holds `part`."""
        return [line for line in self.asked if line.startswith("GET /large/") and part in line]


@contextmanager
def serving(pushed: Path) -> Iterator[Hub]:
    """A hub while the block lasts; then nothing listens at its address."""
    hub = Hub(pushed)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()

    def close() -> None:
        if thread.is_alive():
            server.shutdown()
            thread.join()
            server.server_close()

    hub.close = close
    try:
        yield hub
    finally:
        close()


class _Refused(Exception):
    """Status, X-Error-Code and what the hub says."""


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None: ...

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.asked.append(f"{self.command} {self.path}")
        address = urlsplit(self.path)
        self.path, self.query = unquote(address.path), parse_qs(address.query)
        try:
            if found := API.fullmatch(self.path):
                getattr(self, "_" + found["what"].replace("-", "_"))(**found.groupdict())
            elif found := RESOLVE.fullmatch(self.path):
                self._resolve(**found.groupdict())
            elif self.path.startswith("/large/"):
                self._large(self.path.removeprefix("/large/"))
            elif self.path == "/api/repos/create":
                self._create()
            elif self.command == "POST":  # validate-yaml
                self._json({"errors": [], "warnings": []})
            else:
                raise _Refused(404, "EntryNotFound", "Entry not found")
        except _Refused as error:
            status, code, said = error.args
            self._send(said.encode(), status, {"X-Error-Code": code, "X-Error-Message": said})

    def _send(
        self, body: bytes, status: int = 200, headers: dict[str, str] | None = None, cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut])
        if cut is not None:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    def _json(self, document: Any, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(document).encode(), headers={"Content-Type": "application/json"} | (headers or {}))

    def _files(self, kind: str, name: str, revision: str) -> dict[str, bytes]:
        if not any(known[:2] == (kind, name) for known in self.hub.files):  # nor says whether it is private
            raise _Refused(401, "RepoNotFound", "Repository not found")
        if (kind, name, revision) not in self.hub.files:
            raise _Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return self.hub.files[kind, name, revision]

    def _revision(self, kind: str, name: str, revision: str, **_: Any) -> None:
        files = self._files(kind, name, revision)
        siblings = [{"rfilename": path} for path in files]
        self._json({"id": name, "sha": revision, "private": False, "tags": [], "siblings": siblings})

    def _tree(self, kind: str, name: str, revision: str, path: str | None, **_: Any) -> None:
        files = self._files(kind, name, revision)
        inside = f"{path.strip('/')}/" if path else ""
        entries = {entry["path"]: entry for entry in _entries(files) if entry["path"].startswith(inside)}
        if inside and not entries:
            raise _Refused(404, "EntryNotFound", f"{path} does not exist on {revision}")
        if self.query.get("recursive", ["false"])[0].lower() != "true":
            entries = {name: entry for name, entry in entries.items() if "/" not in name.removeprefix(inside)}
        start = int(self.query.get("cursor", ["0"])[0])
        shown = list(entries.values())[start : start + PAGE]
        query = "&".join(f"{key}={quote(value[0])}" for key, value in self.query.items() if key != "cursor")
        following = f'<{self.hub.address}{quote(self.path)}?{query}&cursor={start + PAGE}>; rel="next"'
        self._json(shown, {"Link": following} if start + PAGE < len(entries) else {})

    def _paths_info(self, kind: str, name: str, revision: str, **_: Any) -> None:
        wanted = parse_qs(self.body.decode())["paths"]
        self._json([entry for entry in _entries(self._files(kind, name, revision)) if entry["path"] in wanted])

    def _resolve(self, data: str | None, name: str, revision: str, path: str) -> None:
        files = self._files("datasets" if data else "models", name, revision)
        if name in self.hub.gated:
            known = "Authorization" in self.headers
            raise _Refused(403 if known else 401, "GatedRepo", f"Access to {name} is restricted: ask for access")
        if path not in files:
            raise _Refused(404, "EntryNotFound", "Entry not found")
        content = files[path]
        headers = {"X-Repo-Commit": revision, "Accept-Ranges": "bytes"}
        if not path.endswith(LARGE):
            return self._send(content, headers=headers | {"ETag": f'"{_git_hash(content)}"'})
        etag = hashlib.sha256(content).hexdigest()
        headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(content))}
        elsewhere = self.hub.address.replace("127.0.0.1", "localhost")  # a client follows to its own hub only
        self._send(b"", 302, headers | {"Location": f"{elsewhere}/large/{etag}/{path}"})

    def _large(self, place: str) -> None:
        etag, _, path = place.partition("/")
        whole = next(
            f[path] for f in self.hub.files.values() if path in f and hashlib.sha256(f[path]).hexdigest() == etag
        )
        cuts = next((found for end, found in self.hub.cuts.items() if path.endswith(end)), None)
        cut = cuts.pop(0) if cuts and self.command == "GET" else None
        ranged = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if ranged is None:
            return self._send(whole, headers={"ETag": f'"{etag}"'}, cut=cut)
        first, last = int(ranged[1]), min(int(ranged[2] or len(whole)), len(whole) - 1)
        headers = {"ETag": f'"{etag}"', "Content-Range": f"bytes {first}-{last}/{len(whole)}"}
        self._send(whole[first : last + 1], 206, headers, cut)

    def _create(self) -> None:
        made = json.loads(self.body)
        name = f"{made.get('organization') or 'me'}/{made['name']}"
        self.hub.files.setdefault(("models", name, "main"), {})
        self._json({"url": f"{self.hub.address}/{name}", "name": name, "id": name})

    def _preupload(self, **_: Any) -> None:
        files = json.loads(self.body)["files"]
        # every file comes inside the commit itself, as small ones do
        self._json({"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]})

    def _commit(self, name: str, **_: Any) -> None:
        for line in map(json.loads, self.body.splitlines()):
            if line["key"] == "file":
                path = self.hub.pushed / name / line["value"]["path"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(base64.b64decode(line["value"]["content"]))
        self._json({"success": True, "commitOid": "0" * 40, "commitUrl": f"{self.hub.address}/{name}/commit/0"})


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _entries(files: dict[str, bytes]) -> list[dict[str, Any]]:
    """A tree as the hub lists it: folders, and files with size and hash."""
    folders = {str(parent) for path in files for parent in Path(path).parents} - {"."}
    entries: list[dict[str, Any]] = [{"type": "directory", "path": path, "oid": "0" * 40} for path in folders]
    for path, content in files.items():
        entry = {"type": "file", "path": path, "size": len(content), "oid": _git_hash(content)}
        if path.endswith(LARGE):
            large = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
            entry["lfs"] = large
        entries.append(entry)
    return sorted(entries, key=lambda entry: entry["path"])
