"""Bundle profiles: start token, stop tokens and the texts a runtime puts around a user's message.

For example:

    PROFILES["google"].stop_tokens    # ('<end_of_turn>', '<start_function_response>')
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from fgkit.prompts.format import STOP_TOKENS


@dataclass(frozen=True)
class Profile:
    """The runtime settings of a bundle, and what follows from them for apps and for scoring.

    The first four fields are in the file and decide whether two profiles are equal. The others
    belong to a profile's name and are not recovered from a file.

    Args:
        start_token: token in front of every prompt.
        stop_tokens: tokens at which the runtime stops and which it removes from the answer.
        prompt_prefix: text in front of what the app sends.
        prompt_suffix: text after it.
        embeds_declarations: whether the developer turn with the tools' declarations is part of
            `prompt_prefix`, so that an app sends the question alone.
        plugin_style: prompt style of the plugin that this profile is for; empty: for no plugin.
    """

    start_token: str
    stop_tokens: tuple[str, ...]
    prompt_prefix: str
    prompt_suffix: str
    embeds_declarations: bool = field(default=False, compare=False)
    plugin_style: str = field(default="", compare=False)

    @property
    def single_call_only(self) -> bool:
        """Whether the runtime stops at the first call's end tag, so that further calls are lost."""
        return "<end_function_call>" in self.stop_tokens

    @property
    def around(self) -> tuple[str, str]:
        """The texts before and after what the app sends."""
        return self.prompt_prefix, self.prompt_suffix


_PREFIX, _SUFFIX = "<start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n"
_GUIDE_STOPS = ("<eos>", "<end_of_turn>", "<end_function_call>", "<start_function_response>")
_PLUGIN = "flutter_gemma"
PROFILES = {
    # One call per answer. The runtime removes the call's end tag; an app must accept that.
    "guide": Profile("<bos>", _GUIDE_STOPS, _PREFIX, _SUFFIX),
    # Parallel calls survive.
    "google": Profile("<bos>", ("<end_of_turn>", "<start_function_response>"), _PREFIX, _SUFFIX),
    # The plugin writes the turns itself.
    _PLUGIN: Profile("<bos>", _GUIDE_STOPS, "", "", plugin_style=_PLUGIN),
    # The developer turn is put in front of the prefix when a bundle is made: see `profile`.
    "baked": Profile("<bos>", _GUIDE_STOPS, _PREFIX, _SUFFIX, embeds_declarations=True),
}
DEFAULT = "guide"
# For rows whose answers have several calls.
DEFAULT_PARALLEL = "google"

# LiteRT-LM parses complete calls itself, so the only stop tokens are those of the training.
LITERTLM = Profile("<bos>", STOP_TOKENS, _PREFIX, _SUFFIX)


def profile(name: str, developer_turn: str = "") -> Profile:
    """Return the profile of this name, with the developer turn if it embeds one.

    Args:
        name: a name in PROFILES.
        developer_turn: the rendered developer turn, without `<bos>`; only a profile that embeds
            the tools' declarations takes it.
    """
    chosen = PROFILES[name]
    if not chosen.embeds_declarations:
        return chosen
    return replace(chosen, prompt_prefix=developer_turn + chosen.prompt_prefix)


def embeds_declarations(name: str | None) -> bool:
    """Return whether bundles of a profile hold the tools' declarations themselves.

    Args:
        name: the profile in a bundle's record; None, or a name not in PROFILES, counts as no.
    """
    return name in PROFILES and PROFILES[name].embeds_declarations


def embedding_profiles() -> list[str]:
    """Return the names of the profiles that embed the tools' declarations."""
    return [name for name, candidate in PROFILES.items() if candidate.embeds_declarations]
