"""Tables and pictures: set in a notebook, as text in a terminal."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from fgkit.display import show_picture, show_table


def test_a_terminal_gets_text(capsys, tmp_path) -> None:
    show_table("| a |")
    show_table("")
    show_picture(tmp_path / "x.png")
    assert capsys.readouterr().out == f"| a |\npicture: {tmp_path / 'x.png'}\n"


def test_a_notebook_gets_table_and_picture(capsys, tmp_path, monkeypatch) -> None:
    shown = []
    ipython = pytest.importorskip("IPython")
    import IPython.display

    monkeypatch.setattr(ipython, "get_ipython", lambda: SimpleNamespace())
    monkeypatch.setattr(IPython.display, "display", shown.append)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(16))
    show_table("| a |")
    show_picture(tmp_path / "x.png")
    assert [type(one).__name__ for one in shown] == ["Markdown", "Image"] and capsys.readouterr().out == ""
    show_table("")
    assert len(shown) == 2
