"""The Docker engine, as far as sandboxes need it: the one home of the ``docker`` package."""

import docker  # noqa: F401
