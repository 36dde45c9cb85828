"""Control groups on trees of ordinary files: which are found, what is written, what is removed."""

import os
import subprocess
import sys
import threading
from urllib.parse import quote

import pytest

from discovery.owner import this_owner
from discovery.sandbox import cgroups, hierarchies
from discovery.sandbox.cgroups import ControlGroup
from discovery.sandbox.hierarchies import Absent, Place, find, folders_of

V2 = "40 31 0:30 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw"
V1 = """30 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
31 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 31 0:31 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
33 31 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"""
OWN_1 = "3:memory:/own\n2:cpu,cpuacct:/\n1:pids:/\n0::/"


class Tree:
    """A hierarchy of version 2 as files."""

    def __init__(self, root):
        self.root = root
        self.top = root / "sys/fs/cgroup"

    def group(self, path, controllers="memory pids cpu", is_top=False, **files):
        folder = self.top / path.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        contents = {
            "cgroup.controllers": controllers,
            "cgroup.subtree_control": "",
            "cgroup.procs": "",
            **{name.replace("_", ".", 1): text for name, text in files.items()},
        }
        if not is_top:
            contents |= {
                "cgroup.type": "domain",
                "memory.max": files.get("memory_max", "max"),
                "pids.max": "max",
            }
        for name, text in contents.items():
            (folder / name).write_text(f"{text}\n")
        return folder

    def find(self, own):
        return find(V2, f"0::{own}\n", self.root)


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


@pytest.fixture
def ordinary(monkeypatch):
    """An ordinary user, who may write only what ``mine`` holds."""
    mine = set()
    monkeypatch.setattr(hierarchies.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(
        hierarchies.os, "access", lambda path, mode: any(path.is_relative_to(m) for m in mine)
    )
    return mine


def test_root_makes_groups_at_the_top(tree, monkeypatch):
    monkeypatch.setattr(hierarchies.os, "geteuid", lambda: 0)
    top = tree.group("/", is_top=True)
    tree.group("/user.slice")
    tree.group("/user.slice/session", cgroup_procs="1\n2")
    found = tree.find("/user.slice/session")
    assert found == Place(version=2, folders={"memory": top, "pids": top})


def test_root_does_not_escape_a_memory_limit(tree, monkeypatch):
    monkeypatch.setattr(hierarchies.os, "geteuid", lambda: 0)
    tree.group("/", is_top=True)
    tree.group("/jobs", memory_max="1073741824")
    tree.group("/jobs/one", cgroup_procs="1\n2")
    found = tree.find("/jobs/one")
    assert isinstance(found, Absent)
    assert "escape the memory limit" in found.why
    assert found.why.endswith(": systemd-run --scope -p Delegate=yes discovery run ...")


def test_delegated_scope_of_an_ordinary_user(tree, ordinary):
    tree.group("/", is_top=True)
    own = tree.group("/user.slice/run-1.scope", cgroup_procs=str(os.getpid()))
    ordinary.add(own)
    found = tree.find("/user.slice/run-1.scope")
    assert found == Place(version=2, folders={"memory": own, "pids": own}, moves=True)


def test_a_group_with_others_in_it_is_not_ours_to_divide(tree, ordinary):
    tree.group("/", is_top=True)
    own = tree.group("/user.slice/terminal.scope", cgroup_procs=f"{os.getpid()}\n1")
    ordinary.add(own)
    found = tree.find("/user.slice/terminal.scope")
    assert isinstance(found, Absent)
    assert found.why.endswith(": systemd-run --user --scope -p Delegate=yes discovery run ...")


def test_scope_without_controllers_says_so(tree, ordinary):
    tree.group("/", is_top=True)
    own = tree.group("/user.slice/run-1.scope", controllers="pids", cgroup_procs=str(os.getpid()))
    ordinary.add(own)
    assert "not given control of memory" in tree.find("/user.slice/run-1.scope").why


def test_root_goes_to_the_top_where_its_own_group_has_no_controllers(tree, monkeypatch):
    monkeypatch.setattr(hierarchies.os, "geteuid", lambda: 0)
    top = tree.group("/", is_top=True)
    tree.group("/box", controllers="", cgroup_procs=str(os.getpid()))
    assert tree.find("/box") == Place(version=2, folders={"memory": top, "pids": top})


def test_inside_a_scope_that_was_divided_before(tree, ordinary):
    tree.group("/", is_top=True)
    own = tree.group("/run-1.scope", cgroup_subtree_control="memory pids")
    tree.group("/run-1.scope/discovery-supervisor", cgroup_procs=str(os.getpid()))
    assert tree.find("/run-1.scope/discovery-supervisor") == Place(
        version=2, folders={"memory": own, "pids": own}
    )


def test_container_of_its_own_namespace(tree, monkeypatch):
    top = tree.group("/", cgroup_procs="1\n7")  # not the true top: it has a type
    assert tree.find("/") == Place(version=2, folders={"memory": top, "pids": top}, moves=True)
    monkeypatch.setattr(hierarchies.os, "geteuid", lambda: 0)
    monkeypatch.setattr(hierarchies.os, "access", lambda path, mode: False)
    assert "read-only: docker run --privileged --cgroupns=private" in tree.find("/").why


def test_outside_of_what_is_mounted(tree):
    tree.group("/", is_top=True)
    assert "no control groups are mounted" in tree.find("/../other").why
    assert "no control groups are mounted" in find("", "0::/", tree.root).why


def tree_1(root, limit=1 << 62):
    for name in ("memory", "memory/own", "pids", "cpu,cpuacct", "unified"):
        (root / "sys/fs/cgroup" / name).mkdir(parents=True, exist_ok=True)
    (root / "sys/fs/cgroup/memory/own/memory.stat").write_text(f"rss 1\nhierarchical_memory_limit {limit}\n")
    return root / "sys/fs/cgroup"


def test_version_1_at_the_top(tmp_path):
    top = tree_1(tmp_path)
    expected = {"memory": top / "memory", "pids": top / "pids", "cpuacct": top / "cpu,cpuacct"}
    assert find(V1, OWN_1, tmp_path) == Place(version=1, folders=expected)


def test_version_1_stays_within_a_memory_limit(tmp_path):
    top = tree_1(tmp_path, limit=1 << 30)
    assert find(V1, OWN_1, tmp_path).folders["memory"] == top / "memory/own"


def test_version_1_of_an_ordinary_user(tmp_path, ordinary):
    top = tree_1(tmp_path)
    found = find(V1, OWN_1, tmp_path)
    assert isinstance(found, Absent)
    assert "run as root" in found.why
    ordinary.update({top / "memory/own", top / "pids", top / "cpu,cpuacct"})
    assert find(V1, OWN_1, tmp_path).folders["memory"] == top / "memory/own"


def test_folders_of_another_process(tmp_path, tree):
    top = tree_1(tmp_path)
    assert folders_of(OWN_1, V1, tmp_path) == (
        1,
        {"memory": top / "memory/own", "pids": top / "pids", "cpuacct": top / "cpu,cpuacct"},
    )
    own = tree.group("/docker/abc")
    assert folders_of("0::/docker/abc", V2, tmp_path) == (2, {"memory": own, "pids": own})
    with pytest.raises(LookupError):
        folders_of("0::/docker/none", V2, tmp_path)


def test_dividing_a_group_moves_what_is_in_it_first(tree):
    own = tree.group("/run-1.scope", cgroup_procs="41\n42")
    moved = []

    class Kernel(type(own)):
        """Files of a group, where a move empties and what is enabled is listed."""

        def write_text(self, text, **kwargs):
            if self.name == "cgroup.procs":
                moved.append(text)
                type(own)(self.parent.parent, "cgroup.procs").write_text("")
            elif self.name == "cgroup.subtree_control":
                assert not type(own)(self.parent, "cgroup.procs").read_text(), "no group has both"
                text = text.replace("+", "")
            return super().write_text(text, **kwargs)

    place = Place(version=2, folders=dict.fromkeys(("memory", "pids"), Kernel(own)), moves=True)
    place.prepare()
    assert moved == ["41", "42"]
    assert (own / "discovery-supervisor").is_dir()
    assert (own / "cgroup.subtree_control").read_text() == "memory pids"
    place.prepare()
    assert moved == ["41", "42"], "once is enough"


def test_limits_of_version_2_leave_no_swap(tmp_path):
    (tmp_path / "memory.swap.max").write_text("max")
    ControlGroup(2, tmp_path, tmp_path, tmp_path).limit(1 << 26, 9)
    files = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert files == {"memory.max": str(1 << 26), "memory.swap.max": "0", "pids.max": "9"}


@pytest.mark.parametrize(("before", "first"), [(1 << 30, "memory.limit"), (1 << 20, "memory.memsw")])
def test_limits_of_version_1_with_swap_are_never_the_smaller(tmp_path, monkeypatch, before, first):
    for name in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"):
        (tmp_path / name).write_text(str(before))
    order = []
    write = type(tmp_path).write_text
    monkeypatch.setattr(type(tmp_path), "write_text", lambda p, t: order.append(p.name) or write(p, t))
    ControlGroup(1, tmp_path, tmp_path, tmp_path).limit(1 << 26, 9)
    assert order[1].startswith(first)
    assert {p.read_text() for p in tmp_path.glob("memory.*")} == {str(1 << 26)}


def test_usage_of_version_2(tmp_path):
    (tmp_path / "memory.stat").write_text("anon 100\nfile 5000\nkernel 20\nshmem 3\nslab_unreclaimable 7\n")
    (tmp_path / "pids.current").write_text("4\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\noom_group_kill 0\n")
    group = ControlGroup(2, tmp_path, tmp_path, tmp_path)
    used = group.usage()
    assert (used.memory_bytes, used.processes, used.cpu_s, used.kills) == (123, 4, 1.5, 2)
    (tmp_path / "cpu.stat").write_text("usage_usec 2500000\n")
    assert group.cpu_s() == 2.5, "what stays open is read again"
    group.close()
    (tmp_path / "memory.stat").write_text("anon 100\nshmem 3\nslab_unreclaimable 7\nkernel_stack 5\n")
    assert group.usage().memory_bytes == 115, "a kernel before 5.18"
    group.close()


def test_made_groups_are_named_and_swept_when_their_owner_is_gone(tmp_path):
    place = Place(version=2, folders={"memory": tmp_path, "pids": tmp_path})
    live = cgroups.make(place, "run.1/x")
    script = "from discovery.owner import this_owner; print(this_owner())"
    dead = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip()
    left = tmp_path / f"discovery.run-2.{quote(dead, safe='').replace('.', '%2E')}"
    left.mkdir()
    for other in ("discovery.x", "discovery.x.y.z", "discovery.run.not-an-owner", "system.slice"):
        (tmp_path / other).mkdir()
    (removed,) = cgroups.sweep(place)
    assert removed.startswith("control group of run-2, left by process ")
    assert not left.exists()
    assert live.memory.exists()
    assert len(list(tmp_path.iterdir())) == 5
    assert live.remove()
    assert live.remove(), "twice"
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("leaves", [True, False])
def test_what_is_about_to_end_is_not_killed_by_a_sweep_and_what_stays_is(tmp_path, monkeypatch, leaves):
    dead = subprocess.run(
        [sys.executable, "-c", "from discovery.owner import this_owner; print(this_owner())"],
        capture_output=True,
        text=True,
    ).stdout.strip()
    left = tmp_path / f"discovery.run.{quote(dead, safe='').replace('.', '%2E')}"
    left.mkdir()
    (left / "inhabited").touch()
    killed = []

    def kill(folder):
        killed.append(folder)
        (folder / "inhabited").unlink()

    monkeypatch.setattr(cgroups, "_kill", kill)
    monkeypatch.setattr(cgroups, "_GRACE_S", 0.3 if not leaves else 30.0)
    if leaves:
        threading.Timer(0.1, (left / "inhabited").unlink).start()
    assert cgroups.sweep(Place(version=2, folders={"memory": tmp_path, "pids": tmp_path}))
    assert not left.exists()
    assert killed == ([] if leaves else [left])


def test_a_name_is_unique_and_one_folder(tmp_path):
    place = Place(version=2, folders={"memory": tmp_path, "pids": tmp_path})
    groups = [cgroups.make(place, "../" * 100 + this_owner()) for _ in range(3)]
    assert {group.memory.parent for group in groups} == {tmp_path}
    assert len({group.memory for group in groups}) == 3
    assert all(len(group.memory.name) < 255 for group in groups)


def test_a_group_that_cannot_be_made_whole_leaves_nothing(tmp_path):
    (tmp_path / "memory").mkdir()
    folders = {"memory": tmp_path / "memory", "pids": tmp_path / "none", "cpuacct": tmp_path / "none"}
    with pytest.raises(OSError, match="none"):
        cgroups.make(Place(version=1, folders=folders), "x")
    assert not list((tmp_path / "memory").iterdir())


def test_joining_comes_before_the_command(tmp_path):
    group = ControlGroup(2, tmp_path, tmp_path, tmp_path)
    command = cgroups.joining(group, [sys.executable, "-c", "import sys; print(sys.argv[1:])", "a b", "--"])
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "['a b', '--']\n"
    assert (tmp_path / "cgroup.procs").read_text() == "0\n"
    gone = ControlGroup(2, tmp_path / "gone", tmp_path / "gone", tmp_path / "gone")
    done = subprocess.run(cgroups.joining(gone, ["echo", "started"]), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (125, "")
    assert cgroups.joining(None, ["echo"]) == ["echo"]
