"""In continuous integration a component that is missing is a failure, never a silent skip.

Property tests have no deadline, and may draw as slowly as they must: how long an example takes says more of a busy
machine than of the code.
"""

import compileall
import fcntl
import gc
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A third of the usual examples, so that all tests stay within ten minutes; .ci/weekly digs deeper.
EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "30"))
settings.register_profile(
    "patient",
    parent=settings(),
    deadline=None,
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("patient")

# Drawing takes most of the time of a short run. Tests of pictures turn it on.
os.environ["DISCOVERY_PICTURES"] = "off"

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "discovery"

# A shell that starts a job in the background has it ignore Ctrl-C, which what the tests start and stop would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

HARDWARE = {"gpu", "browser"}
"""Markers of tests that may be skipped there too: what they need is not installed by `.ci/run`."""


KEEPS_BYTECODE = not sys.dont_write_bytecode

IN_MEMORY = Path("/dev/shm")
ROOM_BYTES = 6 << 30
"""What must be free there and in memory for temporary files of tests to be kept there."""


def _has_room(folder: Path) -> bool:
    """Whether files may be kept in memory: there is enough of it, and programs may be run from the folder."""
    try:
        found = os.statvfs(folder)
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return False
    free = {name: int(value.split()[0]) * 1024 for name, _, value in (line.partition(":") for line in lines)}
    refused = found.f_flag & (os.ST_NOEXEC | os.ST_RDONLY)
    return not refused and min(found.f_bavail * found.f_frsize, free["MemAvailable"]) >= ROOM_BYTES


# Each commit of a database waits for the disk: thousands of times, and for nothing where no machine loses its power.
# `.ci/weekly` waits.
if not os.environ.get("DISCOVERY_WEEKLY") and IN_MEMORY.is_dir() and _has_room(IN_MEMORY):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(IN_MEMORY))


def keeps_in_memory() -> bool:
    """Whether temporary files of tests are kept in memory."""
    return os.environ.get("PYTEST_DEBUG_TEMPROOT") == str(IN_MEMORY)


def pytest_configure(config: pytest.Config) -> None:
    # Where Python was told to keep no bytecode, each of hundreds of processes would compile the package anew, and each
    # worker the tests.
    if not KEEPS_BYTECODE:
        sys.dont_write_bytecode = False
        if not hasattr(config, "workerinput"):
            compileall.compile_dir(Path(__file__).parents[1] / "discovery", quiet=1)


def pytest_collectstart() -> None:
    gc.disable()


def pytest_collection_finish() -> None:
    sys.dont_write_bytecode = not KEEPS_BYTECODE
    # What was made until here stays to the end, and need not be looked through for garbage again and again. What the
    # tests make is looked through as ever.
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    excused = HARDWARE & {mark.name for mark in item.iter_markers()}
    if report.skipped and os.environ.get("CI") == "true" and not excused and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{reason} (with CI=true nothing may be missing; see tests/conftest.py)"
    return report


TOGETHER = {
    "vllm": ("integration/vllm/",),
    "crash": ("test_crash.py",),
    "docker": ("test_docker", "[docker", "test_builds.py"),
    "prefect": ("test_prefect", "test_stops.py"),
    "postgres": ("test_postgres", "[postgres"),
}
"""What is run by one worker, where what it needs is started once, by parts of the tests' names: the longest first, for
the workers to end at about the same time. The rest is kept together by file."""


def _group(nodeid: str) -> str:
    for group, parts in TOGETHER.items():
        if any(part in nodeid for part in parts):
            return group
    return nodeid.partition("::")[0]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not os.environ.get("DISCOVERY_WEEKLY"):
        later = [item for item in items if item.get_closest_marker("weekly")]
        config.hook.pytest_deselected(items=later)
        items[:] = [item for item in items if item not in later]
    order = {group: place for place, group in enumerate(TOGETHER)}
    items.sort(key=lambda item: order.get(_group(item.nodeid), len(order)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    # Not its own groups by marker: xdist 3.8 does not see them with pytest 9.2, and does not say so.
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return ByGroup(config, log)


def _postgres_bin():
    """The folder of PostgreSQL's server programs, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


@pytest.fixture(scope="session")
def postgres():
    """A private cluster on a socket of its own; gives a function that makes an empty database's URL."""
    folder = _postgres_bin()
    if folder is None:
        reason = "PostgreSQL's server programs are not installed (apt-get install postgresql)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    # A socket's path has at most 107 bytes, which pytest's folders may exceed.
    home, socket = (Path(tempfile.mkdtemp(prefix="pg-")) for _ in range(2))
    as_server: list[str] = []
    if os.geteuid() == 0:
        # The server refuses to run as root.
        as_server = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        for path in (home, socket):
            shutil.chown(path, "postgres", "postgres")

    def run(*command):
        done = subprocess.run([*as_server, *command], capture_output=True, text=True, cwd="/", check=False)
        assert done.returncode == 0, done.stderr

    data, log = home / "data", home / "log"
    try:
        run(folder / "initdb", "-D", data, "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-k {socket} -c listen_addresses= -c fsync=off -c max_connections=50"
        run(folder / "pg_ctl", "-D", data, "-l", log, "-w", "-o", options, "start")
        made = iter(range(10_000))

        def new_database():
            name = f"test{next(made)}"
            run(folder / "createdb", "-h", socket, "-U", "tester", name)
            return f"postgresql://tester@/{name}?host={socket}"

        yield new_database
    finally:
        if (data / "postmaster.pid").exists():
            run(folder / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        for path in (home, socket):
            shutil.rmtree(path, ignore_errors=True)


PACKAGES = ((), ("numpy",))
"""What the images of the tests' sandboxes hold beside the interpreter."""


@pytest.fixture(scope="session")
def docker_engine():
    """A Docker engine with images for sandboxes: the one that answers, or a private one for this session."""
    from discovery.errors import MissingComponent
    from discovery.testing.dockerd import have_image, some_engine

    with ExitStack() as stack:
        try:
            # Half a gigabyte of images, unpacked for this session only.
            stack.enter_context(some_engine(IN_MEMORY if keeps_in_memory() else Path("/tmp")))
        except MissingComponent as error:
            pytest.skip(str(error))
        for packages in PACKAGES:
            have_image(packages)
        yield


TAUGHT_BY = (
    *(f"discovery/training/{name}.py" for name in ("tiny", "pupil", "lessons", "tokens")),
    *("discovery/generation/prompt.py", "problems/zigzag/*"),
)
"""What decides the weights of a model that is made by `discovery model new-tiny`."""


@pytest.fixture(scope="session")
def host_template():
    """What scorers' hosts can be forked from, where hundreds of interpreters would start."""
    from discovery.testing.hosts import HostTemplate

    template = HostTemplate()
    yield template
    template.close()


@pytest.fixture(scope="session")
def taught_model():
    """The folder of a model like those of `discovery model new-tiny`, taught for a quarter of the time.

    About half of its answers are valid programs. Made once for as long as what makes it stays the same.
    """
    torch = pytest.importorskip("torch")
    from discovery.training.tiny import Schooling, make_tiny

    root = Path(__file__).parents[1]
    files = [path for pattern in TAUGHT_BY for path in sorted(root.glob(pattern)) if path.is_file()]
    schooling = Schooling(repeating=150, lessons=150, examined=16)
    made_of = [
        torch.__version__,
        repr(schooling),
        *(text for path in files for text in (path.name, path.read_text())),
    ]
    key = hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:12]
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / f"hardly-taught-{key}"
    with (CACHE / "new-tiny.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one worker makes it, the others wait
        if not folder.exists():
            make_tiny(folder, schooling=schooling)
    return folder


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture
def own_place(tmp_path, monkeypatch):
    """A home, a stand-in for vLLM, and a default port of model servers that are this test's own."""
    from discovery.cli import serving
    from discovery.testing.vllm import program

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISCOVERY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DISCOVERY_VLLM", str(program(tmp_path)))
    monkeypatch.setenv("DISCOVERY_STORAGE", str(tmp_path / "runs.db"))
    monkeypatch.setattr(serving, "DEFAULT_PORT", free_port())
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "VLLM_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def stand_in_model(tmp_path):
    """A checkpoint for the stand-in that answers with the initial program of constants-10."""
    from discovery.plugins import share_dir
    from discovery.testing.vllm import write_checkpoint

    initial = (share_dir("problems") / "constants-10" / "initial.py").read_text()
    return write_checkpoint(tmp_path / "tiny", says=f"```python\n{initial}```")


@pytest.fixture
def serve(own_place):
    """Start ``discovery serve`` and wait until it serves; gives what it printed and its process."""
    started = []

    def start(*arguments):
        program = [sys.executable, "-c", "from discovery.cli import main; raise SystemExit(main())"]
        command = [*program, "serve", *map(str, arguments), "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        line = process.stdout.readline()
        assert line, process.stderr.read()
        return json.loads(line), process

    yield start
    for process in started:
        process.kill()
        process.communicate()
