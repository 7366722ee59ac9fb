"""The addresses: what each answers, what browsers are told, and a schema that a client can be made from."""

import threading

import pytest
from made_server import HOME, arithmetic

from lrcn.errors import LrcnError
from lrcn.serve.guard import host_name
from lrcn.serve.limits import Limits
from lrcn.serve.models import Served
from lrcn.serve.service import Service

pytest.importorskip("fastapi", reason="needs the extra serve: pip install 'lrcn[serve]'")


def test_health_and_readiness_are_two_things(asked):
    gate = threading.Event()
    limits = Limits()
    service = Service(lambda: gate.wait(10) and Served({}, limits), limits)
    client = asked(service, wait=False)
    assert client.get("/health").json() == {"status": "ok"}
    for path in ("/ready", "/api/about", "/api/search?words=a"):
        answer = client.get(path)
        assert answer.status_code == 503 and "being loaded" in answer.json()["error"]
        assert int(answer.headers["retry-after"]) >= 1
    assert "lrcn_ready 0" in client.get("/metrics").text
    gate.set()
    while (answer := client.get("/ready")).status_code != 200:
        pass
    assert answer.json() == {"status": "ready"}
    assert "lrcn_ready 1" in client.get("/metrics").text


def test_models_that_cannot_be_loaded_are_told(asked):
    def load():
        raise LrcnError("There is no model x.")

    told = []
    service = Service(load)
    service.failed = told.append
    client = asked(service, wait=False)
    while not told:
        pass
    assert "There is no model x." in client.get("/ready").json()["error"]


def test_a_job_without_a_model_says_how_to_have_one(asked):
    client = asked(Service(lambda: Served({}, Limits())))
    for path, option in (("recognize", "--recognizer"), ("caption", "--caption"), ("describe", "--describe")):
        answer = client.post(f"/api/{path}", files={"file": b"x"})
        assert answer.status_code == 404 and f"start lrcn serve with {option} MODEL" in answer.json()["error"]
    for answer in (client.get("/api/search?words=a"), client.get("/api/photos/0")):
        assert answer.status_code == 404 and "--index FOLDER" in answer.json()["error"]
    about = client.get("/api/about").json()
    assert about["models"] == {"recognize": None, "caption": None, "describe": None, "search": None}
    assert about["limits"]["upload_bytes"] == Limits().upload_bytes
    assert about["limits"]["seconds"] == Limits().seconds


def test_the_page_and_its_files_come_by_name_from_a_list(asked):
    from lrcn.serve.routes import page_folder

    client = asked(arithmetic())
    names = [file.name for file in page_folder().glob("*") if file.suffix in (".js", ".css")]
    for name in names:
        assert client.get(f"/page/{name}").content == (page_folder() / name).read_bytes()
    if (page_folder() / "index.html").exists():
        answer = client.get("/")
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    for name in ("..%2Froutes.py", "%2e%2e/routes.py", "../routes.py", "none.js", "/etc/passwd", "a\\b"):
        assert client.get(f"/page/{name}").status_code == 404


def test_browsers_are_told_to_trust_nothing_else(asked):
    client = asked(arithmetic())
    for path in ("/", "/health", "/api/about", "/none"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:;")
        assert "script-src 'self';" in policy and "unsafe" not in policy
        assert "connect-src 'self' ws://localhost wss://localhost;" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers
    assert client.get("/api/about").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *[
            (host, 200)
            for host in ("localhost", "127.0.0.1:8000", "[::1]:8000", "[::1]", "LOCALHOST.", "me.lan:1")
        ],
        *[
            (host, 400)
            for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil", "", "::1", "a:b")
        ],
    ],
)
def test_the_server_goes_by_its_own_names_only(asked, host, status):
    client = asked(arithmetic(), hosts=["me.lan"])
    answer = client.get("/health", headers={"Host": host})
    assert answer.status_code == status
    if status == 400:
        assert "--allow-host" in answer.json()["error"]


def test_any_name_is_allowed_where_that_is_asked_for(asked):
    client = asked(arithmetic(), hosts=["*"])
    assert client.get("/health", headers={"Host": "any.example"}).status_code == 200
    assert host_name("A.b.:80") == "a.b" and host_name("[::1]:80") == "[::1]"


def test_another_sites_page_may_not_send_forms(asked):
    client = asked(arithmetic())
    for origin, status in (("http://evil.example", 403), ("null", 403), (HOME, 415)):
        answer = client.post("/api/recognize", headers={"Origin": origin})
        assert answer.status_code == status and "error" in answer.json()
    assert client.get("/health", headers={"Origin": "http://evil.example"}).status_code == 200


def test_what_is_not_there_is_one_sentence(asked):
    client = asked(arithmetic())
    for answer, status in (
        (client.get("/none"), 404),
        (client.get("/docs"), 404),
        (client.get("/redoc"), 404),
        (client.get("/api/recognize"), 405),
        (client.delete("/health"), 405),
        (client.get("/api/photos/x"), 422),
        (client.get("/api/search"), 422),
        (client.get("/api/search?words="), 422),
        (client.get("/api/search?words=a&n=101"), 422),
    ):
        assert answer.status_code == status
        assert list(answer.json()) == ["error"] and answer.json()["error"].endswith(".")


def test_a_fault_is_told_without_its_insides(asked):
    service = arithmetic()
    client = asked(service)
    service.about = lambda: 1 / 0
    answer = client.get("/api/about")
    assert answer.status_code == 500
    assert answer.json() == {"error": "The server failed with ZeroDivisionError: see its log."}


def test_requests_are_counted_by_route(asked):
    service = arithmetic()
    client = asked(service)
    client.get("/api/photos/3")
    client.get("/none")
    assert service.metrics.requests.value(route="/api/photos/{number}", status="404") == 1
    assert service.metrics.requests.value(route="other", status="404") == 1


def test_the_schema_tells_all_that_a_client_needs(asked):
    schema = asked(arithmetic()).get("/openapi.json").json()
    expected = {
        *(("/health", "get"), ("/ready", "get"), ("/metrics", "get"), ("/api/about", "get")),
        *(("/api/recognize", "post"), ("/api/caption", "post"), ("/api/describe", "post")),
        *(("/api/search", "get"), ("/api/search", "post")),
        *(("/api/photos/{number}", "get"), ("/api/photos/{number}/thumbnail", "get")),
    }
    found = {(path, method) for path, methods in schema["paths"].items() for method in methods}
    assert found == expected
    parts = schema["components"]["schemas"]
    assert "HTTPValidationError" not in parts
    for path, method in found:
        operation = schema["paths"][path][method]
        assert operation["description"]
        for status, answer in operation["responses"].items():
            (kind, content), *_ = answer["content"].items()
            if int(status) >= 400:
                assert content["schema"]["$ref"].endswith("/Problem")
            elif kind == "application/json":
                assert content["schema"]["$ref"].removeprefix("#/components/schemas/") in parts
        if method == "post":
            assert {"400", "404", "408", "413", "415", "422", "503", "504"} <= set(operation["responses"])
            form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
            assert form["properties"]["file"]["format"] == "binary" and form["required"] == ["file"]
    assert parts["Recognized"]["required"] == [
        *("path", "label", "probability", "probabilities", "per_frame", "segments")
    ]
