"""The pushes of docs/library.md, through huggingface_hub's own client, to a small hub on this machine."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForSequenceClassification

from tests import tiny

ROOT = Path(__file__).resolve().parents[3]
SNIPPET = next(
    snippet
    for snippet in re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/library.md").read_text("utf-8"), re.M | re.S)
    if "push_to_hub" in snippet
)
SCRIPT = f"""
from transformers import AutoModelForSequenceClassification
from theseus import LinearRate, Theseus

predecessor = AutoModelForSequenceClassification.from_pretrained("my-fine-tuned-bert")
theseus = Theseus(predecessor, layers=6, rate=LinearRate(base=0.3, k=0.0006), seed=0)
{SNIPPET}
theseus.model.push_to_hub("me/gated")
"""


class Hub(BaseHTTPRequestHandler):
    """Takes commits into a folder per repository. All files come inside the commit itself, as small ones do."""

    folder: Path

    def log_message(self, *_: Any) -> None: ...

    @property
    def _here(self) -> str:
        return f"http://{self.headers['Host']}"

    def _answer(self, document: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 404:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def do_HEAD(self) -> None:
        self._answer({}, 404)

    def do_GET(self) -> None:
        self._answer({}, 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            made = json.loads(body)
            name = f"{made.get('organization') or 'me'}/{made['name']}"
            return self._answer({"url": f"{self._here}/{name}", "name": name, "id": name})
        if self.path.endswith("/preupload/main"):
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            return self._answer({"files": files})
        if found := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    path = self.folder / found[1] / line["value"]["path"]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(base64.b64decode(line["value"]["content"]))
            return self._answer(
                {"success": True, "commitOid": "0" * 40, "commitUrl": f"{self._here}/{found[1]}/commit/0"}
            )
        return self._answer({"errors": [], "warnings": []})  # validate-yaml


@pytest.fixture
def hub(tmp_path) -> Any:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Hub,), {"folder": tmp_path / "hub"}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
def test_what_is_pushed_is_the_successor_and_its_card(hub, tmp_path):
    tiny.bert(12, seed=1).save_pretrained(tmp_path / "my-fine-tuned-bert")
    own = {"HF_ENDPOINT": hub, "HF_HUB_OFFLINE": "0", "HF_TOKEN": "none", "HF_HOME": str(tmp_path / "home")}
    environment = {**os.environ, **own, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for name in ("six-layers", "gated"):
        model, report = AutoModelForSequenceClassification.from_pretrained(
            tmp_path / "hub" / "me" / name, output_loading_info=True
        )
        assert not any(report.values())
        assert model.config.num_hidden_layers == model.config.theseus["layers"] == 6
    assert "BERT-of-Theseus" in (tmp_path / "hub/me/six-layers/README.md").read_text()
