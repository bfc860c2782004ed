"""The parts of an app's interface: its functions, their arguments, and the types of these.

`planning.plan` makes them from tool declarations; `dart` and `kotlin` write them as code. Most
parts
have two names: `wire` is the name in the tool's declaration, which the model reads and writes, and
`name` is the identifier in the generated code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["string", "integer", "number", "boolean", "enum", "object", "list", "map", "any"]
Default = str | int | float | bool | None


@dataclass(frozen=True)
class Type:
    """The type of a value.

    Args:
        kind: `map` is an object whose keys are not declared, `any` a value without a known type.
        name: of an enum or class; empty for the others.
        item: the type of a list's elements.
        nullable: whether null is allowed as well.
    """

    kind: Kind
    name: str = ""
    item: Type | None = None
    nullable: bool = False

    @property
    def element(self) -> Type:
        """The type of a list's elements; of any type where the schema declares none."""
        return self.item or Type("any")


@dataclass(frozen=True)
class Member:
    """An argument of a function or a property of a class.

    Args:
        wire: its name in the declaration.
        name: its name in the code.
        type: its declared type.
        required: whether the model must give it.
        description: for the comment.
        default: what the app gets when the model leaves it out; None where there is no default.
    """

    wire: str
    name: str
    type: Type
    required: bool
    description: str
    default: Default = None

    @property
    def optional(self) -> bool:
        """Whether the app may get null; its type then ends in a question mark."""
        return (not self.required and self.default is None) or self.type.nullable

    @property
    def app_type(self) -> Type:
        """The type that the app's code gets: the declared one, nullable for optional members."""
        return replace(self.type, nullable=self.optional)


@dataclass(frozen=True)
class Function:
    """One tool as a method.

    Args:
        wire: the tool's name.
        name: the method's name.
        members: its arguments, in the order of the declaration.
        description: for the comment.
    """

    wire: str
    name: str
    members: tuple[Member, ...]
    description: str


@dataclass(frozen=True)
class Enum:
    """The strings that an argument allows.

    Args:
        name: of the type.
        values: pairs of the identifier in the code and the string that the model writes.
    """

    name: str
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Class:
    """An object with declared properties.

    Args:
        name: of the type.
        members: its properties, in the order of the declaration.
        description: for the comment.
    """

    name: str
    members: tuple[Member, ...]
    description: str


@dataclass(frozen=True)
class Plan:
    """Everything that an app's code has a name for, in the order of the tools.

    Args:
        functions: one for each tool.
        enums, classes: the types that their arguments need.
    """

    functions: tuple[Function, ...]
    enums: tuple[Enum, ...]
    classes: tuple[Class, ...]
