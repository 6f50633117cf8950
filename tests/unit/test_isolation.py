"""The guards of tests/conftest.py do guard."""

from __future__ import annotations

import os
import socket
import urllib.request

import pytest


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.invalid", 80)])
def test_a_remote_address_is_refused(address):
    with socket.socket() as client, pytest.raises(RuntimeError, match="tried to reach"):
        client.connect(address)
    with socket.socket() as client, pytest.raises(RuntimeError, match="tried to reach"):
        client.connect_ex(address)


def test_an_ordinary_client_is_refused_before_it_looks_the_name_up():
    with pytest.raises(RuntimeError, match=r"example\.invalid"):
        urllib.request.urlopen("http://example.invalid/", timeout=5)


def test_this_machine_may_be_reached():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()


def test_one_thread_and_no_hub():
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    torch = pytest.importorskip("torch")
    assert torch.get_num_threads() == 1
