"""The engine's boundary: nothing of the package's gets out, and every refusal says what to do."""

import json
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler

import pytest

from discovery.errors import MissingComponent, SandboxError, SandboxUnavailable
from discovery.sandbox.answers import frames
from discovery.sandbox.engine import Engine

pytest.importorskip("docker")


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def get_request(self):
        return self.socket.accept()[0], ("local", 0)


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """An engine that answers as told: (method, path without version) to (status, body); gives those it was asked."""
    answers = {("GET", "/version"): (200, {"ApiVersion": "1.41"})}
    asked = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size + 2)[:-2]
                self.rfile.readline()
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.partition("?")[0]
            path = path[path.index("/", 1) :] if path.startswith("/v1.") else path
            asked.append((self.command, self.path, body))
            status, told = answers.get((self.command, path), (500, {"message": f"not told: {path}"}))
            if isinstance(told, list) and told and callable(told[0]):
                status, told = told[0](len(asked))
            text = json.dumps(told).encode() if told is not None else b""
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *args):
            """Be quiet."""

    with Server(str(tmp_path / "s"), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/s")
        with Engine(timeout_s=2.0) as engine:
            engine.answers, engine.asked = answers, asked
            yield engine
        server.shutdown()


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(MissingComponent, match=r"pip install 'discovery-loop\[docker\]'"):
        Engine()


@pytest.mark.parametrize("address", ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:9", "nonsense://x"])
def test_an_engine_that_does_not_answer_is_unavailable_in_one_line(monkeypatch, address):
    monkeypatch.setenv("DOCKER_HOST", address)
    with pytest.raises(SandboxUnavailable) as caught:
        Engine(timeout_s=0.5)
    said = str(caught.value)
    assert address in said
    assert "\n" not in said
    assert "HTTPConnection" not in said


def test_a_refusal_is_in_the_engines_own_words(engine):
    engine.answers["POST", "/containers/create"] = (400, {"message": "no such\nthing"})
    with pytest.raises(SandboxError, match="the Docker engine refused: no such thing") as caught:
        engine.create("x", {})
    assert not isinstance(caught.value, SandboxUnavailable)


def test_facts(engine):
    engine.answers["GET", "/info"] = (
        200,
        {
            "ServerVersion": "20.10",
            "Driver": "overlay2",
            "SecurityOptions": ["name=seccomp,profile=default", "name=rootless"],
            "MemoryLimit": False,
            "PidsLimit": True,
        },
    )
    facts = engine.facts()
    assert (facts.version, facts.storage, facts.security) == ("20.10", "overlay2", ("seccomp", "rootless"))
    assert facts.cannot == ("memory",)


def test_an_image_that_is_not_there_is_none(engine):
    engine.answers["GET", "/images/x:y/json"] = (404, {"message": "No such image: x:y"})
    assert engine.image("x:y") is None


def test_an_import_sends_the_pieces_and_fails_with_the_engines_words(engine):
    engine.answers["POST", "/images/create"] = (200, {"status": "sha256:1"})
    engine.answers["GET", "/images/a:b/json"] = (
        200,
        {"Id": "sha256:1", "Config": {"Labels": {"k": "v"}, "Volumes": {"/data": {}}}},
    )
    image = engine.import_image(iter([b"one", b"two"]), "a:b", labels={"k": "v"}, environment={"P": "/q"})
    assert (image.id, dict(image.labels), image.volumes) == ("sha256:1", {"k": "v"}, ("/data",))
    _, path, body = next(each for each in engine.asked if each[0] == "POST")
    assert body == b"onetwo"
    assert "repo=a" in path
    assert "tag=b" in path
    engine.answers["POST", "/images/create"] = (200, {"error": "bad tar"})
    with pytest.raises(SandboxError, match="bad tar"):
        engine.import_image(iter([b""]), "a:b", labels={}, environment={})


def test_removal_takes_what_is_gone_or_going_for_done(engine):
    for status in (204, 404):
        engine.answers["DELETE", "/containers/c"] = (
            status,
            None if status == 204 else {"message": "No such"},
        )
        engine.remove("c")
    going = [
        lambda asked: (409, {"message": "removal in progress"}) if asked < 8 else (404, {"message": "No"})
    ]
    engine.answers["DELETE", "/containers/c"] = (409, going)
    engine.remove("c", patience_s=5.0)
    assert len(engine.asked) >= 8
    engine.answers["DELETE", "/containers/c"] = (409, {"message": "removal in progress"})
    engine.remove("c")


def test_memory_is_limited_with_swap(engine):
    engine.answers["POST", "/containers/c/update"] = (200, {"Warnings": None})
    engine.limit("c", 1 << 28)
    told = json.loads(engine.asked[-1][2])
    assert told["Memory"] == told["MemorySwap"] == 1 << 28


def test_containers_by_label(engine):
    engine.answers["GET", "/containers/json"] = (200, [{"Id": "1", "Names": ["/n"], "Labels": {"a": "b"}}])
    (found,) = engine.labelled("a")
    assert (found.id, found.name, dict(found.labels)) == ("1", "n", {"a": "b"})
    assert "label" in engine.asked[-1][1]


def test_frames_of_output():
    stream = b"\x01\0\0\0\0\0\0\x03abc\x02\0\0\0\0\0\0\x01d\x01\0\0"
    assert list(frames(stream)) == [b"abc", b"d"]


MADE = {
    "Id": "sha256:1",
    "RepoTags": ["a:b"],
    "Size": 7,
    "Created": "2026-01-02T03:04:05.123456789Z",
    "Config": {"Labels": {"k": "v"}},
}


def test_images_are_listed_with_their_names_sizes_and_ages(engine):
    engine.answers["GET", "/images/json"] = (200, [{"Id": "sha256:1"}, {"Id": "sha256:gone"}])
    engine.answers["GET", "/images/sha256:1/json"] = (200, MADE)
    engine.answers["GET", "/images/sha256:gone/json"] = (404, {"message": "No such image"})
    (image,) = engine.images("k")
    assert (image.names, image.size_bytes) == (("a:b",), 7)
    assert image.created_at.isoformat() == "2026-01-02T03:04:05.123456+00:00"
    engine.answers["GET", "/images/sha256:1/json"] = (200, {**MADE, "Created": ""})
    assert engine.images("k")[0].created_at is None


def test_a_dockerfile_is_built_as_its_builder_says(engine, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    engine.answers["POST", "/build"] = (200, {"stream": "Step 1/1 : FROM scratch\n\n"})
    engine.answers["GET", "/images/a:b/json"] = (200, MADE)
    said = []
    image = engine.build(
        str(tmp_path), str(tmp_path / "Dockerfile"), "a:b", labels={"k": "v"}, say=said.append
    )
    assert (image.id, said) == ("sha256:1", ["Step 1/1 : FROM scratch"])
    _, path, _ = next(each for each in engine.asked if each[0] == "POST")
    assert "t=a%3Ab" in path
    assert "pull" not in path or "pull=False" in path  # nothing is fetched that is there
    engine.answers["POST", "/build"] = (200, {"error": "returned a non-zero\ncode: 3"})
    with pytest.raises(SandboxError, match="did not build a:b: returned a non-zero code: 3"):
        engine.build(str(tmp_path), str(tmp_path / "Dockerfile"), "a:b", labels={}, say=said.append)


def test_an_image_is_fetched_only_by_pull_and_fails_with_the_registrys_words(engine):
    engine.answers["POST", "/images/create"] = (200, {"status": "Pulling from a"})
    engine.answers["GET", "/images/a:b/json"] = (200, MADE)
    said = []
    assert engine.pull("a:b", say=said.append).id == "sha256:1"
    assert said == ["Pulling from a"]
    engine.answers["POST", "/images/create"] = (404, {"message": "pull access denied"})
    with pytest.raises(SandboxError, match="pull access denied"):
        engine.pull("a:b", say=said.append)
