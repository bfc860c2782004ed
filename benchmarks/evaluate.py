"""Compare the time of an answer with `model.generate`, one by one, and with fgkit's batches.

    python benchmarks/evaluate.py [MODEL_FOLDER] [--json]       # about 2 minutes on 2 cores

Both answer the example's held-out rows greedily in fp32 with the same weights, the offline base's
where no folder is named: the stock call the first 12 of them, fgkit all 156, after a warm-up of
each. `equal` counts the answers of those 12 that are the same token for token; `ratio` is stock
seconds a row over fgkit's.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

STOCK_ROWS = 12
NEW_TOKENS = 32


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", help="a model folder (default: the offline base)")
    parser.add_argument("--json", action="store_true", help="print one JSON object on one line")
    options = parser.parse_args()
    import torch

    from fgkit import prompts, subprocesses
    from fgkit.dataset import tokenize
    from fgkit.dataset.reading import read_records
    from fgkit.locations import shipped
    from fgkit.models import base as base_model
    from fgkit.prompts import PromptSetup
    from fgkit.tools import load_tools
    from fgkit.training import generation

    model, tokenizer = base_model.load(options.folder or base_model.find_base("offline").folder)
    model = model.float()
    model.set_attn_implementation("sdpa")
    tools = load_tools(shipped("data", "tools.py"))
    records = read_records(shipped("data", "eval_data.jsonl"), tools)
    texts = tokenize.prompt_texts(records, PromptSetup(tools))

    def stock(text: str) -> str:
        ids = torch.tensor([tokenize.encode(tokenizer, text)], device=model.device)
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            top_k=None,
            top_p=None,
            eos_token_id=list(prompts.STOP_IDS),
            pad_token_id=0,
        )
        return tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=False)

    def ours(texts: list[str]) -> list[str]:
        return generation.generate(model, tokenizer, texts, max_new_tokens=NEW_TOKENS)

    stock(texts[0]), ours(texts[:2])
    wanted, stock_seconds = _timed(lambda: [stock(text) for text in texts[:STOCK_ROWS]])
    got, our_seconds = _timed(lambda: ours(texts))
    report: dict[str, Any] = {
        "stock_seconds_a_row": round(stock_seconds / STOCK_ROWS, 3),
        "fgkit_seconds_a_row": round(our_seconds / len(texts), 3),
        "equal": sum(one == other for one, other in zip(wanted, got)),
        "of": STOCK_ROWS,
        "rows": len(texts),
        "peak_memory_gb": subprocesses.peak_memory_gb(),
    }
    report["ratio"] = round(stock_seconds / STOCK_ROWS / (our_seconds / len(texts)), 1)
    print(json.dumps(report, indent=None if options.json else 2))
    return 0


def _timed(work: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
