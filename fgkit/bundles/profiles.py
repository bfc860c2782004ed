"""What a bundle tells its runtime: the start token, the tokens to stop at, the texts put around what the user said.

>>> PROFILES["google"].stop_tokens
('<end_of_turn>', '<start_function_response>')
"""

from __future__ import annotations

from dataclasses import dataclass

from fgkit.prompts.format import STOP_TOKENS


@dataclass(frozen=True)
class Profile:
    """What a bundle tells its runtime: first token, tokens to stop at, texts put around what the user said."""

    start_token: str
    stop_tokens: tuple[str, ...]
    prompt_prefix: str
    prompt_suffix: str


_PREFIX, _SUFFIX = "<start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n"
_GUIDE_STOPS = ("<eos>", "<end_of_turn>", "<end_function_call>", "<start_function_response>")
PROFILES = {
    # One call an answer; the runtime cuts the call's end tag off, so the app's parser must accept its absence.
    "guide": Profile("<bos>", _GUIDE_STOPS, _PREFIX, _SUFFIX),
    # Parallel calls survive.
    "google": Profile("<bos>", ("<end_of_turn>", "<start_function_response>"), _PREFIX, _SUFFIX),
    # Today's flutter_gemma plugin writes the turns itself.
    "flutter_gemma": Profile("<bos>", _GUIDE_STOPS, "", ""),
}
BAKED = "baked"  # the developer turn is the bundle's, so that an app sends the question alone: see `profile`


def profile(name: str, developer_turn: str = "") -> Profile:
    """The profile of a name in PROFILES, or `baked`: the developer turn with its declarations in front of every question.

    Args:
        name: which.
        developer_turn: for `baked`: the rendered turn, without `<bos>`.
    """
    if name != BAKED:
        return PROFILES[name]
    return Profile("<bos>", _GUIDE_STOPS, developer_turn + _PREFIX, _SUFFIX)


# A `.litertlm`: whole calls, because LiteRT-LM reads them itself, and a stop wherever the model was taught to stop.
LITERTLM = Profile("<bos>", STOP_TOKENS, _PREFIX, _SUFFIX)
