"""On PYTHONPATH, it has every process of fgkit take `tiny.model_folder`'s network for one that can be converted."""

import dataclasses

import fgkit.models.spec

fgkit.models.spec.register(
    dataclasses.replace(fgkit.models.spec.GEMMA_3_270M, shape={"model_type": "gemma3_text"})
)
