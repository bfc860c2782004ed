"""Tables and pictures: set in a notebook, as text in a terminal."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from fgkit.display import show_picture, show_table, show_text


def test_a_terminal_gets_text(capsys, tmp_path) -> None:
    show_table("| a |")
    show_table("")
    show_text(["one <line>", "two"])
    show_text([])
    show_picture(tmp_path / "x.png")
    assert capsys.readouterr().out == f"| a |\none <line>\ntwo\npicture: {tmp_path / 'x.png'}\n"


def test_a_notebook_gets_table_and_picture(capsys, tmp_path, monkeypatch) -> None:
    shown = []
    ipython = pytest.importorskip("IPython")
    import IPython.display

    monkeypatch.setattr(ipython, "get_ipython", lambda: SimpleNamespace())
    monkeypatch.setattr(IPython.display, "display", lambda one, raw=False: shown.append(one))
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    (tmp_path / "x.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + bytes(8) + (1440).to_bytes(4, "big") + bytes(4)
    )
    show_table("| a |")
    show_picture(tmp_path / "x.png")
    assert [type(one).__name__ for one in shown] == [
        "Markdown",
        "Image",
    ] and capsys.readouterr().out == ""
    assert shown[1].width == 960  # ten inches of a page
    show_table("")
    show_text([])
    assert len(shown) == 2
    show_text(["a <b>", "c"])
    assert shown[2]["text/plain"] == "a <b>\nc" and shown[2]["text/html"].count("<div") == 3
    assert "a &lt;b&gt;" in shown[2]["text/html"] and "<b>" not in shown[2]["text/html"]
