"""Where candidate code runs: the port (``base``), its backends, and the client of the zygote that they share.

``make_backend`` names one, ``choose`` takes the strongest that works; ``bubblewrap`` isolates, ``process``
only stops accidents and is never chosen silently.
"""

from discovery.sandbox.backends import NAMES, choose, make_backend

__all__ = ["NAMES", "choose", "make_backend"]
