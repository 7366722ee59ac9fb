"""What all tests of the server need."""

import time

import pytest
from made_server import HOME, ready


@pytest.fixture
def asked():
    """Gives a client of the application on a service, ready; afterwards nothing may be left on the disk."""
    pytest.importorskip("fastapi", reason="needs the extra serve: pip install 'lrcn[serve]'")
    from starlette.testclient import TestClient

    from lrcn.serve.app import make_app

    opened = []

    def ask(service, hosts=(), wait=True):
        client = TestClient(make_app(service, hosts), base_url=HOME, raise_server_exceptions=False)
        client.__enter__()
        opened.append((client, service))
        if wait:
            ready(client)
        return client

    yield ask
    for client, service in opened:
        until = time.monotonic() + 2
        while list(service.uploads.folder.iterdir()) and time.monotonic() < until:
            time.sleep(0.01)
        assert list(service.uploads.folder.iterdir()) == []
        client.__exit__(None, None, None)
        assert not service.uploads.folder.exists()
