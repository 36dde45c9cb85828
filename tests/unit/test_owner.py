import os
import subprocess
import sys

from discovery.owner import describe_owner, is_dead, this_owner


def test_this_process_is_alive_and_its_owner_names_differ():
    one, other = this_owner(), this_owner()
    assert one != other
    assert not is_dead(one)
    assert describe_owner(one).startswith(f"process {os.getpid()} on ")


def test_a_process_that_ended_is_dead_even_when_its_id_is_used_again():
    code = "from discovery.owner import this_owner; print(this_owner())"
    owner = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert is_dead(owner.strip())
    host, _, ticks, token = owner.strip().split("|")
    assert is_dead(f"{host}|{os.getpid()}|{ticks}|{token}"), "this process has that id now, and started later"


def test_nothing_is_known_of_other_hosts():
    assert not is_dead("elsewhere/pid:[1]|1|2|x")
