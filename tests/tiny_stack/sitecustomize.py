"""On PYTHONPATH, it has every process of fgkit take `tiny.model_folder`'s network for FunctionGemma, and save at every step.

What a network this small cannot do is not asked of it: its answers are not looked at before a conversion, and its logits
may differ. Everything else is as it ships.
"""

import collections
import dataclasses
import os
import random
import resource
import shutil
import time

import fgkit.export.conversion_worker
import fgkit.export.first_token
import fgkit.models.answer_checks
import fgkit.models.spec
import fgkit.training.checkpoints
import fgkit.workflow.recording

fgkit.models.spec.register(
    dataclasses.replace(
        fgkit.models.spec.GEMMA_3_270M,
        shape={"model_type": "gemma3_text", "hidden_size": 48, "num_hidden_layers": 1},
    )
)
fgkit.models.answer_checks.check_answers = lambda texts: [
    fgkit.models.answer_checks.Check(1, "not looked at", "pass")
]
fgkit.training.checkpoints.SAVE_SECONDS = 0.0
fgkit.training.checkpoints.SAVE_SHARE = float("inf")
_build, _compare, _usage = (
    fgkit.export.conversion_worker.build,
    fgkit.export.first_token.compare,
    shutil.disk_usage,
)
_EMPTY = collections.namedtuple("usage", "total used free")(1 << 40, 0, 1 << 40)
# The disk seems empty beforehand, as one that somebody else fills meanwhile.
shutil.disk_usage = lambda folder: _EMPTY if os.environ.get("FGKIT_TEST_FILLED") else _usage(folder)

if os.environ.get("FGKIT_TEST_CLOCK"):  # a time of day that jumps by days at every look
    _time = time.time
    time.time = lambda: _time() + random.choice((-4, 3)) * 86_400

    class _Jumping(fgkit.workflow.recording.datetime):
        @classmethod
        def now(cls, zone=None):
            return cls.fromtimestamp(time.time(), zone)

    fgkit.workflow.recording.datetime = _Jumping


def _tiny_build(folder, decoder_config):
    from litert_torch.generative.examples.gemma3 import decoder

    real = decoder.get_decoder_config_270m

    def tiny_config():
        config = real()
        config.num_layers, config.embedding_dim, config.embedding_scale = 1, 48, 48**0.5
        config.block_configs = config.block_configs[:1]
        for block in config.block_configs:  # the first one slides, as it does in the real network
            attention = block.attn_config
            attention.num_heads, attention.num_query_groups, attention.head_dim = 2, 1, 24
            attention.sliding_window_size = 24
            block.ff_config.intermediate_size = 96
        return config

    decoder.get_decoder_config_270m = tiny_config
    if limit := os.environ.get("FGKIT_TEST_MEMORY"):  # MB that the conversion may take from here on
        pages = int(open("/proc/self/statm").read().split()[0])
        resource.setrlimit(
            resource.RLIMIT_AS, (pages * resource.getpagesize() + int(limit) * 1_000_000,) * 2
        )
    try:
        return _build(folder, decoder_config)
    finally:
        decoder.get_decoder_config_270m = real


fgkit.export.conversion_worker.build = _tiny_build
fgkit.export.first_token.compare = lambda reference, got: (
    _compare(reference, got) | {"argmax_agrees": True}
)
