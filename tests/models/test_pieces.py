"""vocabulary: kept pieces can be built, structure keeps its ids, texts of kept pieces are encoded as before."""

from __future__ import annotations

import functools
import io

import pytest
import sentencepiece
from hypothesis import given, settings, strategies as st

from fgkit import prompts
from fgkit.errors import ConfigError, ModelError
from fgkit.models import offline_steps
from fgkit.models.vocabulary import choice, pieces as vocabulary

ENGLISH = [
    "make the background red please",
    "show an alert that says dinner is ready",
    "rename the app to holiday plans",
    "turn on the kitchen lights and play some music",
    "the weather is nice, is it not?",
    "set a timer: 10 minutes",
]
GERMAN = [
    "mache den Hintergrund bitte grün",
    "zeige eine Nachricht für Jürgen",
    "schöne Grüße aus Köln",
]
RUSSIAN = [
    "сделай фон красным пожалуйста",
    "покажи сообщение что ужин готов",
    "переименуй приложение",
]
CORPUS = [*ENGLISH, *GERMAN, *RUSSIAN, "\U0001f525 \U0001f389 \U0001f525"]
ROWS = [f"<bos><start_of_turn>user\n{text}<end_of_turn>\n" for text in ENGLISH[:2]]
SIZE = 600


@functools.cache
def layout() -> tuple[list[str], list[float], list[int]]:
    """A vocabulary laid out as Gemma's: structure, runs of spaces, bytes, merged pieces, characters, tabs, unused ones."""
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 3),
        model_writer=trained,
        model_type="bpe",
        vocab_size=700,
        hard_vocab_limit=False,
        byte_fallback=True,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        character_coverage=1.0,
        minloglevel=2,
    )
    model = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue())
    learned = [
        model.IdToPiece(index)
        for index in range(model.GetPieceSize())
        if not (model.IsByte(index) or model.IsControl(index) or model.IsUnknown(index))
    ]
    names = {index: token for token, index in prompts.CONTROL_TOKENS.items()} | {
        107: "\n",
        108: "\n\n",
    }
    head = [names.get(index, f"<unused{index}>") for index in range(109)] + [
        "\u2581\u2581",
        "\u2581\u2581\u2581",
        "<table>",
    ]
    byte_names = [f"<0x{byte:02X}>" for byte in range(256)]
    merged = sorted(
        learned, key=lambda piece: len(piece) == 1
    )  # stable: merges first, then characters, as Gemma's
    assert sum(len(piece) > 1 for piece in merged) > 200
    tail = ["\t", "<start_of_image>", "<unused7000>", "<unused7001>"]
    pieces = [*head, *byte_names, *merged, *tail]
    scores = (
        [0.0] * (len(head) + 256)
        + [-float(index) for index in range(len(merged))]
        + [0.0] * len(tail)
    )
    return pieces, scores, [3] * 107 + [4] * 5 + [6] * 256 + [1] * len(merged) + [4] * len(tail)


@functools.cache
def whole() -> vocabulary.Pieces:
    return vocabulary.Pieces(offline_steps.sentencepiece_model(*layout()))


@functools.cache
def chosen(size: int = SIZE, rows: tuple[str, ...] = tuple(ROWS)) -> list[int]:
    return choice.choose(whole(), size, rows)


def processor(model: bytes) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_proto=model)


@functools.cache
def both() -> tuple[sentencepiece.SentencePieceProcessor, sentencepiece.SentencePieceProcessor]:
    """The whole model and the cut one."""
    return processor(offline_steps.sentencepiece_model(*layout())), processor(
        whole().only(chosen())
    )


def names(ids: list[int]) -> set[str]:
    return {whole().names[index] for index in ids}


# ---- what is kept


def test_structure_keeps_its_ids_and_the_size_is_exact() -> None:
    ids = chosen()
    assert len(ids) == SIZE and ids == sorted(set(ids)) and ids[:368] == list(range(368))
    cut = both()[1]
    for token, index in prompts.CONTROL_TOKENS.items():
        assert cut.IdToPiece(index) == token
        assert index <= 3 or cut.Encode(f"a{token}b")[1] == index
    assert cut.Encode("\n") == [107] and cut.Encode("<0x41>") != [cut.PieceToId("<0x41>")]
    assert {"\t", "<start_of_image>"} <= names(ids) and not {
        "<unused7000>",
        "<unused7001>",
    } & names(ids)


def test_every_kept_piece_is_built_from_kept_pieces() -> None:
    cut, merged = both()[1], [index for index in chosen() if index in set(whole().merged)]
    assert sum(len(whole().names[index]) > 3 for index in merged) > 20
    for index in merged:
        name = whole().names[index]
        assert cut.Encode(name, out_type=str) == [name]
        assert all(char in names(chosen()) for char in name), (
            "without its characters tokenizers would give bytes"
        )


def test_parts_are_the_merges_on_the_way() -> None:
    pieces, scores, types = (
        [*layout()[0][:368], "a", "b", "c", "ab", "bc", "abc", "cab"],
        [0.0] * 371,
        [*layout()[2][:368]],
    )
    small = vocabulary.Pieces(
        offline_steps.sentencepiece_model(
            pieces, scores + [-2.0, -1.0, -3.0, -4.0], types + [1] * 7
        )
    )
    at = {name: index for index, name in enumerate(pieces)}
    assert small.parts(at["abc"]) == {
        at[name] for name in ("a", "b", "c", "bc", "abc")
    }  # bc first: its score is higher
    assert small.parts(at["cab"]) == {at[name] for name in ("c", "a", "b", "ab", "cab")}
    assert small.parts(at["a"]) == {at["a"]} and small.parts(50) == {50}


@pytest.mark.parametrize("name", ["axc", "a\n", "<table>b", "ad"])
def test_a_piece_that_no_merges_lead_to_is_not_kept(name) -> None:
    """No pair leads to axc; \\n and <table> are split off before; d has no piece, so `tokenizers` gives its byte."""
    pieces = [*layout()[0][:368], "a", "b", "c", "x", "ab", "abc", name]
    small = vocabulary.Pieces(
        offline_steps.sentencepiece_model(
            pieces, [0.0] * 372 + [-1.0, -2.0, -3.0], [*layout()[2][:368], *[1] * 7]
        )
    )
    assert small.parts(len(pieces) - 1) == set() and small.parts(len(pieces) - 2) != set()
    assert len(pieces) - 1 not in choice.choose(small, len(pieces) - 1, [])


def test_the_texts_pieces_come_before_more_frequent_ones() -> None:
    full = both()[0]
    texts = [*ROWS, GERMAN[1]]
    needed = {index for text in vocabulary.segments(texts) for index in full.Encode(text)}
    with pytest.raises(ConfigError) as caught:
        choice.choose(whole(), 380, texts)
    least = int(str(caught.value).split("structure need ")[1].split()[0])
    ids = choice.choose(whole(), least, texts)
    assert needed <= set(ids) and len(needed - set(range(368))) >= 20
    frequent = next(
        index for index in whole().merged if choice.script(whole().names[index][-1]) == "CYRILLIC"
    )
    assert frequent not in ids and frequent < max(needed & set(whole().merged))


def test_the_places_left_go_to_the_scripts_of_the_texts() -> None:
    def cyrillic(*rows: str) -> set[str]:
        return {
            name
            for name in names(choice.choose(whole(), SIZE, [*ROWS, *rows]))
            if choice.script(name[-1]) == "CYRILLIC"
        }

    assert cyrillic() == set()
    assert any(
        name not in RUSSIAN[0].replace(" ", vocabulary.SPACE) for name in cyrillic(RUSSIAN[0])
    )


def test_a_word_brings_the_forms_that_an_argument_may_need() -> None:
    pieces = whole()
    index = pieces.names.index("\u2581red")
    found = {pieces.names[part] for part in pieces.word(index)}
    assert "\u2581red" in found
    for form in ("red", "Red", " Red"):
        assert set(pieces.encode([form])[0]) <= pieces.word(index)
    inside = next(
        index
        for index in pieces.merged
        if len(pieces.names[index]) > 1 and pieces.names[index].isalpha()
    )
    assert pieces.word(inside) == pieces.parts(inside) and not pieces.is_word(inside)


def test_words_come_with_their_forms_and_foreign_ones_last() -> None:
    pieces, room = whole(), 100
    order = list(choice.ranked(pieces, ROWS, room))
    words = [
        index for index in pieces.merged if pieces.is_word(index) and len(pieces.names[index]) > 3
    ]
    assert len(words) > 20
    first = words[0]
    assert pieces.word(first) in order and order.index(pieces.word(first)) < order.index(
        pieces.parts(first)
    )
    later = list(choice.ranked(pieces, ROWS, room, frozenset({first})))
    assert pieces.word(first) not in later and pieces.parts(first) in later
    needed, kept = (
        pieces.parts(first),
        set(choice.choose(pieces, SIZE, ROWS, foreign=frozenset(words))),
    )
    assert needed and len(kept & set(words)) <= len(set(chosen()) & set(words))


def test_the_texts_that_are_needed_may_be_fewer_than_those_that_tell_the_scripts() -> None:
    with pytest.raises(ConfigError) as caught:
        choice.choose(whole(), 380, [*ROWS, GERMAN[1]], needed=ROWS[:1])
    with pytest.raises(ConfigError) as all_needed:
        choice.choose(whole(), 380, [*ROWS, GERMAN[1]])
    least, more = (
        int(str(error.value).split("structure need ")[1].split()[0])
        for error in (caught, all_needed)
    )
    assert least < more


def test_texts_are_cut_at_control_tokens_and_counted_once() -> None:
    assert vocabulary.segments(["<bos>a<end_of_turn>\n", "a", "<start_of_turn>"]) == ["a", "\n"]


def test_scripts() -> None:
    assert [choice.script(char) for char in "aé字कि5\U0001f525\u0301"] == [
        "LATIN",
        "LATIN",
        "CJK",
        "DEVANAGARI",
        "DEVANAGARI",
        "",
        "",
        "",
    ]
    assert choice.scripts_of(["a" * 99 + "б", "1 2"]) == {"", "LATIN", "CYRILLIC"}
    assert choice.scripts_of(["a" * 200 + "б"]) == {"", "LATIN"}


# ---- how texts are encoded

FRAGMENTS = sorted({word for line in CORPUS for word in line.split()}) + [
    " ",
    "  ",
    "    ",
    "\n",
    "\t",
    "the",
    "<table>",
]
TEXTS = st.lists(st.sampled_from(FRAGMENTS) | st.text("abcdefghijklmnop rst.ü", max_size=4)).map(
    "".join
)


def test_a_text_whose_pieces_are_kept_is_encoded_as_before() -> None:
    full, cut = both()
    ids, seen = chosen(), [0, 0]

    @settings(max_examples=400, deadline=None, derandomize=True)
    @given(text=TEXTS)
    def same(text: str) -> None:
        before = full.Encode(text)
        kept = set(before) <= set(ids)
        seen[kept] += bool(text)
        if kept:
            assert [ids[index] for index in cut.Encode(text)] == before

    same()
    assert min(seen) > 40, "texts of both kinds were tried"
    for text in vocabulary.segments(ROWS):
        assert [ids[index] for index in cut.Encode(text)] == full.Encode(text)


@settings(max_examples=200, deadline=None)
@given(text=st.text() | TEXTS)
def test_every_text_is_encoded_and_decoded_to_itself(text) -> None:
    cut = both()[1]
    assert cut.Decode(cut.Encode(text)) == text.replace("\u2581", " ") and 3 not in cut.Encode(text)


def test_what_has_no_piece_is_written_in_bytes() -> None:
    cut = both()[1]
    fox = cut.Encode("\u72d0")
    assert [cut.IdToPiece(index) for index in fox] == ["<0xE7>", "<0x8B>", "<0x90>"]


# ---- refusals


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (10_000, "vocab_size is 10000, but the base has [0-9]+ pieces. Set it to less, or to 0"),
        (
            400,
            "vocab_size is 400, but rows, tools and structure need [0-9]+ pieces. Set it to 1024 or more, or to 0",
        ),
    ],
)
def test_a_size_that_does_not_fit(size, message) -> None:
    with pytest.raises(ConfigError, match=message):
        choice.choose(whole(), size, CORPUS)


def test_unused_pieces_fill_no_places() -> None:
    most = len(whole()) - 2
    assert len(choice.choose(whole(), most, ROWS)) == most
    with pytest.raises(
        ConfigError,
        match=f"vocab_size is {most + 1}, but only {most} of the base's {most + 2} pieces are",
    ):
        choice.choose(whole(), most + 1, ROWS)


def test_another_kind_of_model_is_refused() -> None:
    for damaged in (b"version https://git-lfs.github.com/spec/v1", b""):
        with pytest.raises(ModelError, match="tokenizer.model: is no"):
            vocabulary.Pieces(damaged)
    unigram = whole().proto.FromString(whole().proto.SerializeToString())
    unigram.trainer_spec.model_type = unigram.trainer_spec.UNIGRAM
    with pytest.raises(ModelError, match="no BPE model with byte fallback"):
        vocabulary.Pieces(unigram.SerializeToString())


def test_sentences_that_loading_would_compare_are_left_out() -> None:
    old = (
        offline_steps.sentencepiece_model(*layout()) + b"\x22\x04\x0a\x02\x0a\x00"
    )  # field 4, self_test_data
    assert b"\x22\x04\x0a\x02\x0a\x00" not in vocabulary.Pieces(old).only(chosen())
