"""Exports of a few rows."""

import pytest

from discovery.testing.exports import sft_row, write_export


@pytest.fixture
def export(tmp_path):
    """Writes an export's folder: its name, its format, its rows by file."""

    def write(name, format_name="trl-sft", **files):
        return write_export(tmp_path / name, format_name, **files)

    write.row = sft_row
    return write
