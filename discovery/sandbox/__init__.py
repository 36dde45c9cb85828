"""Where candidate code runs: the port (``base``), its backends, and the client of the zygote that they share.

``make_backend`` makes one by name: ``bubblewrap`` isolates, ``process`` only stops accidents.
"""

from discovery.sandbox.backends import NAMES, make_backend

__all__ = ["NAMES", "make_backend"]
