"""Write and read a `.litertlm`, the file format of LiteRT-LM.

The file is a header, followed by sections that begin at multiples of 16 KiB. Those of fgkit have
three: the settings of the runtime (`LlmMetadata`: model type, start and stop ids, sampling, the
chat template), the SentencePiece model and the network.

The model type `function_gemma` makes LiteRT-LM's conversation interface parse calls. It also makes
the runtime render tools in a way of its own, unless the metadata leave that to the template: then a
conversation's prompt is written by the model's own template, the default style of the training.

For example:

    read("run/functiongemma-flutter.litertlm").model_type    # 'function_gemma'
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
from fgkit.files import require_regular, sha256
from fgkit.models import sentencepiece_model
from fgkit.prompts import styles

from .profiles import LITERTLM, Profile

LLM_METADATA, TOKENIZER, NETWORK = "LlmMetadataProto", "SP_Tokenizer", "TFLiteModel"
MODEL_TYPE, PREFILL_DECODE = "function_gemma", "tf_lite_prefill_decode"
SECTIONS = frozenset({LLM_METADATA, TOKENIZER, NETWORK})
# Largest sizes in bytes of the sections that are read into memory; a file with a hole has any size.
LIMITS = {LLM_METADATA: 1 << 20, TOKENIZER: 64 << 20, NETWORK: 8 << 30}
# The random id and the time that the builder writes into the header.
_UUID = rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_TIME = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00"
# The header's strings end before this byte, where the first section begins at the earliest.
_HEADER_TEXTS = 16 * 1024
# The file's first bytes, and where its header begins.
MAGIC, HEADER_START = b"LITERTLM", 32
# A header with larger values than these is damaged.
_MAX_HEADER, _MAX_SECTIONS = 1 << 20, 64


@dataclass(frozen=True)
class Litertlm:
    """The contents of a `.litertlm`, without the network.

    Args:
        sections: (first byte, end) of each section in the file, by its name.
        profile: start token, stop tokens and the texts around a user's turn.
        model_type: the name by which LiteRT-LM chooses how tools are rendered and calls parsed.
        template: the chat template, in Jinja.
        template_writes_tools: whether the template renders the tools, rather than LiteRT-LM.
        context: length limit of prompt and answer together, in tokens; 0 where none is recorded.
    """

    sections: dict[str, tuple[int, int]]
    profile: Profile
    model_type: str
    template: str
    template_writes_tools: bool
    context: int


def write(path: Path, tflite: Path, tokenizer: Path, *, style: str, context: int) -> None:
    """Write a `.litertlm` of type `function_gemma` whose conversations send the trained prompt.

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
        _make_reproducible(path, metadata, tokenizer, tflite)
    except ValueError as error:
        raise BundleError(
            f"{tflite}: LiteRT-LM's builder failed: {error}. "
            "`python -m fgkit doctor` checks its package."
        ) from error
    finally:
        metadata.unlink(missing_ok=True)


def read(path: str | Path) -> Litertlm:
    """Read a `.litertlm` of any origin.

    Its sections have no checksums, so damage inside the weights is not noticed here.

    Args:
        path: the file.
    Raises:
        BundleError: the file is missing, truncated or damaged, has other sections, or its tokenizer
            cannot be parsed.
    """
    path = require_regular(path, "a .litertlm, which to_task makes", error=BundleError)
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
    return _parse(path, sections, metadata, processor)


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
    writes_tools = styles.get(style).template_writes_tools
    metadata.llm_model_type.function_gemma.use_template_for_fc_format = writes_tools
    # Greedy decoding, so that an app gets the same answers that were scored.
    sampler = metadata.sampler_params
    sampler.type, sampler.k = sampler_params_pb2.SamplerParameters.TOP_P, 1
    sampler.p, sampler.temperature, sampler.seed = 1.0, 1.0, 0
    return metadata


def _make_reproducible(path: Path, *sources: Path) -> None:
    """Replace the builder's random id and its time, so that equal bundles have equal bytes.

    Args:
        path: the bundle, changed in place.
        sources: the files that it was made from; the new id is derived from their hashes.
    """
    digest = hashlib.sha256("".join(sha256(source) for source in sources).encode()).digest()
    with open(path, "r+b") as file:
        header = file.read(_HEADER_TEXTS)
        header = re.sub(
            _UUID, str(uuid.UUID(bytes=digest[:16], version=4)).encode(), header, count=1
        )
        header = re.sub(_TIME, lambda match: re.sub(rb"\d", b"0", match[0]), header, count=1)
        file.seek(0)
        file.write(header)


def _sections(path: Path, file: Any) -> dict[str, tuple[int, int]]:
    """Return the first byte and the end of each section, by its name.

    Raises:
        BundleError: the sections are not exactly those of one language model, or they overlap.
    """
    size = path.stat().st_size
    start = file.read(HEADER_START)
    if start[:8] != MAGIC:
        raise BundleError(
            f"{path}: is no .litertlm (starts with {start[:8]!r}). Make or download it again."
        )
    end = struct.unpack_from("<Q", start, 24)[0] if len(start) == HEADER_START else 0
    if not HEADER_START < end <= min(size, _MAX_HEADER):
        raise BundleError(
            f"{path}: its header ends at byte {end} of {size}. It is incomplete or damaged: make "
            "or download it again."
        )
    listed = _listed_sections(path, file.read(end - HEADER_START))
    names = [name for name, _, _ in listed]
    if sorted(names) != sorted(SECTIONS):
        raise BundleError(
            f"{path}: holds the sections {names[:9]}, expected {sorted(SECTIONS)}. It is no "
            "language model of one network, or an incomplete one: make or download it again."
        )
    position = end
    for name, begin, stop in sorted(listed, key=lambda section: section[1]):
        if not position <= begin < stop <= size or stop - begin > LIMITS.get(name, size):
            raise BundleError(
                f"{path}: its section {name} lies at bytes {begin} to {stop} of {size}. The file "
                "is incomplete or damaged: make or download it again."
            )
        position = stop
    if position != size:
        raise BundleError(
            f"{path}: has {size - position} bytes after its last section. Make or download it "
            "again."
        )
    return {name: (begin, stop) for name, begin, stop in listed}


def _listed_sections(path: Path, header: bytes) -> list[tuple[str, int, int]]:
    """Return name, first byte and end of the sections in a header, at most _MAX_SECTIONS."""
    from litert_lm_builder import litertlm_core, litertlm_header_schema_py_generated as schema

    names = litertlm_core.SECTION_DATA_TYPE_TO_STRING_MAP
    try:
        listed = schema.LiteRTLMMetaData.GetRootAs(header, 0).SectionMetadata()
        sections = [listed.Objects(i) for i in range(min(listed.ObjectsLength(), _MAX_SECTIONS))]
        return [
            (
                str(names.get(section.DataType(), section.DataType())),
                section.BeginOffset(),
                section.EndOffset(),
            )
            for section in sections
        ]
    # Flatbuffers follows the offsets in damaged bytes without checks, so many errors can occur.
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


def _section(file: Any, bounds: tuple[int, int], limit: int | None = None) -> bytes:
    """Read a section's bytes, or only the first `limit` of them."""
    begin, end = bounds
    file.seek(begin)
    return file.read(end - begin if limit is None else min(limit, end - begin))


def _parse(
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
            processor.IdToPiece(number)
            if 0 <= number < processor.GetPieceSize()
            else f"<id {number}>"
            for number in ids
        )

    user = metadata.prompt_templates.user
    profile = Profile(
        text(metadata.start_token),
        tuple(text(token) for token in metadata.stop_tokens),
        user.prefix,
        user.suffix,
    )
    model_type = metadata.llm_model_type.WhichOneof("model_type") or "generic_model"
    gemma = metadata.llm_model_type.function_gemma
    return Litertlm(
        sections,
        profile,
        model_type,
        metadata.jinja_prompt_template,
        model_type == MODEL_TYPE and gemma.use_template_for_fc_format,
        metadata.max_num_tokens,
    )
