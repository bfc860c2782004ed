"""The precision a device gets, and what is refused on one without bfloat16."""

from __future__ import annotations

import pytest

from fgkit import devices
from fgkit.config.finetune import FinetuneConfig
from fgkit.errors import ConfigError
from fgkit.models.spec import FUNCTIONGEMMA, base_named

torch = pytest.importorskip("torch")


@pytest.fixture
def t4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")


@pytest.mark.usefixtures("t4")
def test_a_gpu_without_bf16_trains_in_fp32_by_itself() -> None:
    assert FinetuneConfig().recipe(base_named(FUNCTIONGEMMA).recipe).precision == "fp32"


@pytest.mark.usefixtures("t4")
@pytest.mark.parametrize("precision", ["bf16", "bf16_weights"])
def test_bf16_that_was_asked_for_is_refused_there(precision: str) -> None:
    with pytest.raises(
        ConfigError,
        match=f"'{precision}', which Tesla T4 does not have. Leave it at None or use 'fp32'",
    ):
        devices.require_precision(precision)
    devices.require_precision("fp32")


@pytest.mark.parametrize(
    ("has", "wanted"), [((False, False), "fp32"), ((True, False), "bf16"), ((False, True), "bf16")]
)
def test_a_processor_trains_in_bf16_where_it_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, has: tuple[bool, bool], wanted: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name, value in zip(("_is_avx512_bf16_supported", "_is_amx_tile_supported"), has):
        monkeypatch.setattr(torch.cpu, name, lambda value=value: value)
    assert devices.default_precision() == wanted
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")  # a PyTorch that has no such name
    assert devices.default_precision() == ("bf16" if has[0] else "fp32")


def test_the_launcher_says_which_process_this_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (devices.main_process(), devices.from_main(3.0)) == (True, 3.0)
    monkeypatch.setenv("RANK", "1")
    assert not devices.main_process()
