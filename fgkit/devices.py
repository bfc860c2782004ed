"""The device that training runs on: its best precision, and which of several processes this is.

`accelerate launch` and `torchrun` start one process per device and number them in the environment
variable RANK; without a launcher there is a single process. Example, on a processor with bfloat16:

    default_precision(), main_process()   # ('bf16', True)
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
    """Return `bf16` if the device multiplies bfloat16 in hardware, otherwise `fp32`.

    Devices without bfloat16 are, for example, a T4, an older processor or a Mac.
    """
    import torch

    if torch.cuda.is_available():
        return "bf16" if _gpu_has_bf16() else "fp32"
    # These queries are private to torch and differ between versions: each one may be missing.
    queries = (
        getattr(torch.cpu, name, None)
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )
    return "bf16" if any(supported() for supported in queries if supported) else "fp32"


def require_precision(precision: str) -> None:
    """Refuse bfloat16 on a GPU that does not support it.

    Args:
        precision: one of `PRECISIONS`.

    Raises:
        ConfigError: the GPU has no bfloat16; the message says what to use instead.
    """
    import torch

    if precision != "fp32" and torch.cuda.is_available() and not _gpu_has_bf16():
        raise ConfigError(
            f"precision is {precision!r}, which {torch.cuda.get_device_name()} does not have. "
            "Leave it at None or use 'fp32' (slower; fp16 overflows in this model)."
        )


def main_process() -> bool:
    """Tell whether this is the process that scores, writes files and prints (rank 0)."""
    return os.environ.get("RANK", "0") == "0"


def from_main(value: Any) -> Any:
    """Return the main process's value in every process; all of them have to call this.

    Args:
        value: any picklable value; only the main process's is used.
    """
    import torch

    if not torch.distributed.is_initialized():
        return value
    values: list[Any] = [value]
    torch.distributed.broadcast_object_list(values, src=0)
    return values[0]


def _gpu_has_bf16() -> bool:
    import torch

    return torch.cuda.is_bf16_supported(including_emulation=False)
