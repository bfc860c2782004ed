"""Where training runs: what precision the device is made for, and which of several processes this is.

`accelerate launch` and `torchrun` start one process a device and say so in the environment; without them there is one.

>>> default_precision(), main_process()
('bf16', True)
"""

from __future__ import annotations

import os
from typing import Any

from fgkit.errors import ConfigError

PRECISIONS = {
    "fp32": "fp32 weights and arithmetic",
    "bf16": "fp32 weights, bfloat16 arithmetic (autocast)",
    "bf16_weights": "bfloat16 weights, arithmetic and optimizer state",
}


def default_precision() -> str:
    """`bf16` where the device multiplies bfloat16 in hardware, `fp32` elsewhere (a T4, an older processor, a Mac)."""
    import torch

    if torch.cuda.is_available():
        return "bf16" if _gpu_has_bf16() else "fp32"
    found = (
        getattr(torch.cpu, name, None)
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )
    return "bf16" if any(has() for has in found if has) else "fp32"


def require_precision(precision: str) -> None:
    """Refuse bfloat16 on a GPU that has none.

    Raises:
        ConfigError: with the remedy.
    """
    import torch

    if precision != "fp32" and torch.cuda.is_available() and not _gpu_has_bf16():
        raise ConfigError(
            f"precision is {precision!r}, which {torch.cuda.get_device_name()} does not have. Leave it at "
            "None or use 'fp32' (slower; fp16 overflows in this model)."
        )


def main_process() -> bool:
    """Whether this process is the one that scores, writes and speaks."""
    return os.environ.get("RANK", "0") == "0"


def from_main(value: Any) -> Any:
    """The main process's value, in every process; all of them have to call this."""
    import torch

    if not torch.distributed.is_initialized():
        return value
    told: list[Any] = [value]
    torch.distributed.broadcast_object_list(told, src=0)
    return told[0]


def _gpu_has_bf16() -> bool:
    import torch

    return torch.cuda.is_bf16_supported(including_emulation=False)
