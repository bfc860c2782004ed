"""Write and read a `.litertlm`, the file of LiteRT-LM: a header, then sections that begin at multiples of 16 KiB.

>>> read("run/functiongemma-flutter.litertlm").model_type
'function_gemma'

Ours has three sections: what the runtime must know (`LlmMetadata`: model type, start and stop ids, sampling, the chat
template), the SentencePiece model and the network. Model type `function_gemma` makes LiteRT-LM's conversation interface
read calls. It also makes it write tools its own way, unless the metadata say that the template writes them: then what a
conversation puts before the model is the text of the model's own template, which is what is trained by default.
"""

from __future__ import annotations

import hashlib
import re
import struct
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgkit import prompts
from fgkit.errors import BundleError
from fgkit.files import sha256
from fgkit.models import sentencepiece_model
from fgkit.prompts import styles

from .profiles import LITERTLM, Profile

LLM_METADATA, TOKENIZER, NETWORK = "LlmMetadataProto", "SP_Tokenizer", "TFLiteModel"
MODEL_TYPE, PREFILL_DECODE = "function_gemma", "tf_lite_prefill_decode"
SECTIONS = frozenset({LLM_METADATA, TOKENIZER, NETWORK})
_UUID = rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_TIME = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00"
_HEADER_TEXTS = 16 * 1024  # the first section begins there at the earliest
MAGIC, HEADER_START, _MAX_HEADER, _MAX_SECTIONS = b"LITERTLM", 32, 1 << 20, 64


@dataclass(frozen=True)
class Litertlm:
    """What a `.litertlm` says about itself.

    Args:
        sections: (first byte, end) of each section in the file, by its kind.
        profile: start token, stop tokens and the texts around a user's turn.
        model_type: LiteRT-LM's name for how tools are written and calls are read.
        template: the chat template, in Jinja.
        template_writes_tools: whether the template writes tools; else LiteRT-LM writes them before it.
        context: longest prompt and answer together, in tokens; 0 where it is not said.
    """

    sections: dict[str, tuple[int, int]]
    profile: Profile
    model_type: str
    template: str
    template_writes_tools: bool
    context: int


def write(path: Path, tflite: Path, tokenizer: Path, *, style: str, context: int) -> None:
    """Write a `.litertlm` of type `function_gemma` whose conversations put the trained text before the model.

    Args:
        path: the file to write.
        tflite: the network.
        tokenizer: the SentencePiece model.
        style: the prompt style that the model was trained in, which decides
            whether the template or LiteRT-LM writes the tools.
        context: length of the network's KV cache in tokens.
    Raises:
        BundleError: LiteRT-LM's builder failed.
    """
    from litert_lm_builder import litertlm_builder

    builder = litertlm_builder.LitertLmFileBuilder()
    metadata = path.with_name(f"{path.name}.metadata")
    try:
        metadata.write_bytes(_metadata(style, context, tokenizer).SerializeToString())
        builder.add_system_metadata(
            litertlm_builder.Metadata(
                key="Authors", value="fgkit", dtype=litertlm_builder.DType.STRING
            )
        )
        builder.add_llm_metadata(str(metadata))
        builder.add_sentencepiece_tokenizer(str(tokenizer))
        builder.add_tflite_model(str(tflite), litertlm_builder.TfLiteModelType.PREFILL_DECODE)
        with open(path, "wb") as file:
            builder.build(file)
        _settle(path, metadata, tokenizer, tflite)
    except ValueError as error:
        raise BundleError(
            f"{tflite}: LiteRT-LM's builder failed: {error}. `python -m fgkit doctor` checks its package."
        ) from error
    finally:
        metadata.unlink(missing_ok=True)


def read(path: str | Path) -> Litertlm:
    """Read a `.litertlm` of any origin; its sections have no checksums, so damage inside the weights is not seen here.

    Raises:
        BundleError: missing, truncated, damaged, of other sections, or its tokenizer cannot be parsed.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            sections = _sections(path, file)
            metadata = _section(file, sections[LLM_METADATA])
            tokenizer = _section(file, sections[TOKENIZER])
            start = _section(file, sections[NETWORK], 8)
    except OSError as error:
        raise BundleError(
            f"{path}: cannot be read: {error.strerror}. Make it with to_task."
        ) from error
    if start[4:] != b"TFL3":
        raise BundleError(
            f"{path}: its network is no .tflite (starts with {start!r}). Make it again."
        )
    processor = sentencepiece_model.parse(tokenizer, f"{path} {TOKENIZER}")
    return _described(path, sections, metadata, processor)


def _metadata(style: str, context: int, tokenizer: Path) -> Any:
    from litert_lm_builder.runtime.proto import llm_metadata_pb2, sampler_params_pb2

    processor = sentencepiece_model.parse(tokenizer.read_bytes(), tokenizer)
    metadata = llm_metadata_pb2.LlmMetadata(
        max_num_tokens=context,
        jinja_prompt_template=prompts.chat_template(),
        supports_function_calling=True,
    )
    metadata.start_token.token_ids.ids.append(processor.PieceToId(LITERTLM.start_token))
    for token in LITERTLM.stop_tokens:
        metadata.stop_tokens.add().token_ids.ids.append(processor.PieceToId(token))
    metadata.prompt_templates.user.prefix = LITERTLM.prompt_prefix
    metadata.prompt_templates.user.suffix = LITERTLM.prompt_suffix
    metadata.llm_model_type.function_gemma.use_template_for_fc_format = styles.get(
        style
    ).template_writes_tools
    sampler = (
        metadata.sampler_params
    )  # the greedy answers that are scored are those that an app gets
    sampler.type, sampler.k = sampler_params_pb2.SamplerParameters.TOP_P, 1
    sampler.p, sampler.temperature, sampler.seed = 1.0, 1.0, 0
    return metadata


def _settle(path: Path, *sources: Path) -> None:
    """Give equal bundles equal bytes: an identity from what went in, and no time, where the builder writes chance and now."""
    digest = hashlib.sha256("".join(sha256(source) for source in sources).encode()).digest()
    with open(path, "r+b") as file:
        header = file.read(_HEADER_TEXTS)
        header = re.sub(
            _UUID, str(uuid.UUID(bytes=digest[:16], version=4)).encode(), header, count=1
        )
        header = re.sub(_TIME, lambda found: re.sub(rb"\d", b"0", found[0]), header, count=1)
        file.seek(0)
        file.write(header)


def _sections(path: Path, file: Any) -> dict[str, tuple[int, int]]:
    """Where each section lies, refused where they are not exactly one language model in plain order."""
    from litert_lm_builder import litertlm_core, litertlm_header_schema_py_generated as schema

    size = path.stat().st_size
    start = file.read(HEADER_START)
    if start[:8] != MAGIC:
        raise BundleError(
            f"{path}: is no .litertlm (starts with {start[:8]!r}). Make or download it again."
        )
    end = struct.unpack_from("<Q", start, 24)[0] if len(start) == HEADER_START else 0
    if not HEADER_START < end <= min(size, _MAX_HEADER):
        raise BundleError(
            f"{path}: its header ends at byte {end} of {size}. It is incomplete or damaged: make or "
            "download it again."
        )
    names = litertlm_core.SECTION_DATA_TYPE_TO_STRING_MAP
    found: list[tuple[str, int, int]] = []
    try:
        listed = schema.LiteRTLMMetaData.GetRootAs(
            file.read(end - HEADER_START), 0
        ).SectionMetadata()
        count = listed.ObjectsLength()
        for index in range(min(count, _MAX_SECTIONS)):
            section = listed.Objects(index)
            found.append(
                (
                    str(names.get(section.DataType(), section.DataType())),
                    section.BeginOffset(),
                    section.EndOffset(),
                )
            )
    except (
        struct.error,
        IndexError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
    ) as error:
        raise BundleError(
            f"{path}: its header cannot be read ({error}). Make or download it again."
        ) from error
    kinds = [kind for kind, _, _ in found]
    if sorted(kinds) != sorted(SECTIONS) or count > _MAX_SECTIONS:
        raise BundleError(
            f"{path}: holds the sections {kinds[:9]}, expected {sorted(SECTIONS)}. It is no language "
            "model of one network, or not a whole one: make or download it again."
        )
    at = end
    for kind, begin, stop in sorted(found, key=lambda one: one[1]):
        if not at <= begin < stop <= size:
            raise BundleError(
                f"{path}: its section {kind} lies at bytes {begin} to {stop} of {size}. The file is "
                "incomplete or damaged: make or download it again."
            )
        at = stop
    if at != size:
        raise BundleError(
            f"{path}: has {size - at} bytes after its last section. Make or download it again."
        )
    return {kind: (begin, stop) for kind, begin, stop in found}


def _section(file: Any, place: tuple[int, int], limit: int | None = None) -> bytes:
    begin, end = place
    file.seek(begin)
    return file.read(end - begin if limit is None else min(limit, end - begin))


def _described(
    path: Path, sections: dict[str, tuple[int, int]], data: bytes, processor: Any
) -> Litertlm:
    from google.protobuf.message import DecodeError
    from litert_lm_builder.runtime.proto import llm_metadata_pb2

    try:
        metadata = llm_metadata_pb2.LlmMetadata.FromString(data)
    except DecodeError as error:
        raise BundleError(
            f"{path}: its metadata cannot be read ({error}). Make or download it again."
        ) from error

    def text(token: Any) -> str:
        if token.token_str:
            return token.token_str
        ids = list(token.token_ids.ids)
        return "".join(
            processor.IdToPiece(one) if 0 <= one < processor.GetPieceSize() else f"<id {one}>"
            for one in ids
        )

    user = metadata.prompt_templates.user
    profile = Profile(
        text(metadata.start_token),
        tuple(text(token) for token in metadata.stop_tokens),
        user.prefix,
        user.suffix,
    )
    kind = metadata.llm_model_type.WhichOneof("model_type") or "generic_model"
    return Litertlm(
        sections,
        profile,
        kind,
        metadata.jinja_prompt_template,
        kind == MODEL_TYPE and metadata.llm_model_type.function_gemma.use_template_for_fc_format,
        metadata.max_num_tokens,
    )
