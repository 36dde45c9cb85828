"""Where runs live.

The port (``base``), its implementation on SQLite and PostgreSQL (``rdb``), the way to open one (``open``),
and the journal that groups the writes of many chains into few transactions (``journal``).
"""

from discovery.storage.open import open_existing, open_storage

__all__ = ["open_existing", "open_storage"]
