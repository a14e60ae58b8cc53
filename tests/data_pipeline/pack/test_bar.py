import re

import pytest

from data_pipeline.pack import bar as module
from data_pipeline.pack.bar import PackBar


def test_a_log_gets_a_line_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(module, "LINE_EVERY_S", 0.0)
    with PackBar("out", total=100, done=40) as bar:
        bar.advance(10, 5_000_000)
    said = capsys.readouterr().err
    assert re.fullmatch(r"50/100 images, [\d.e+]+ images/s, [\d.e+]+ MB/s\n", said)


def test_what_is_slow_is_not_nothing(monkeypatch, capsys):
    clock = iter([0.0, 40.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    with PackBar("out", total=100, done=40) as bar:
        bar.advance(10, 1_250_000)
    assert capsys.readouterr().err == "50/100 images, 0.25 images/s, 0.031 MB/s\n"


def test_one_that_is_short_gets_none(capsys):
    with PackBar("out", total=100, done=0) as bar:
        bar.advance(100, 5_000_000)
    assert capsys.readouterr().err == ""


def interrupted():
    with PackBar("out", total=100, done=0) as bar:
        bar.advance(30, 1)
        raise KeyboardInterrupt


def test_an_interrupt_says_how_to_go_on(capsys):
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "30 of 100 images are packed; the same command goes on there" in capsys.readouterr().err
