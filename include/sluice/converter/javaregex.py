r"""Java 7 regular expressions, translated to the `regex` engine (amplitude-spec 5.3 `replace_with`, decisions
D-10).

Python and Java spell many things alike and mean different things: `\d`, `\w` and `\s` are ASCII in Java; `.`,
`^` and `$` know five line terminators and treat CR LF as one; `(?i)` folds ASCII letters only unless `u` is
set; a character class may hold classes and `&&`. So every construct is parsed and written out anew, and what
has no exact counterpart is an error that names it. Matching is bounded in time: see `BoundedPattern`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import regex

from sluice.converter.jsontext import shorten
from sluice.converter.limits import (
    MATCH_CHARACTERS,
    MATCH_SECONDS,
    MAX_PATTERN,
    MAX_REPEATS,
    MAX_TEXT,
    MIN_MATCH_SECONDS,
)
from sluice.converter.outcomes import RowError


class RegexProblem(ValueError):
    """A construct that cannot be translated; the message names it."""


_MAX_GROUP_DEPTH = 100
_TERMINATORS = r"\n\r\x85\u2028\u2029"
_DIGIT = r"0-9"
_WORD = r"a-zA-Z0-9_"
_SPACE = r"\t\n\x0b\f\r\x20"

# Java's POSIX classes: US-ASCII, unless (?U) asks for Unicode.
_POSIX: Final = {
    "Lower": "a-z",
    "Upper": "A-Z",
    "ASCII": r"\x00-\x7f",
    "Alpha": "a-zA-Z",
    "Digit": _DIGIT,
    "Alnum": "a-zA-Z0-9",
    "Punct": r"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e",
    "Graph": r"\x21-\x7e",
    "Print": r"\x20-\x7e",
    "Blank": r"\x20\t",
    "Cntrl": r"\x00-\x1f\x7f",
    "XDigit": "0-9a-fA-F",
    "Space": _SPACE,
}
_CATEGORIES: Final = frozenset(
    [
        "C",
        "Cc",
        "Cf",
        "Cn",
        "Co",
        "Cs",
        "L",
        "LC",
        "Ll",
        "Lm",
        "Lo",
        "Lt",
        "Lu",
        "M",
        "Mc",
        "Me",
        "Mn",
        "N",
        "Nd",
        "Nl",
        "No",
        "P",
        "Pc",
        "Pd",
        "Pe",
        "Pf",
        "Pi",
        "Po",
        "Ps",
        "S",
        "Sc",
        "Sk",
        "Sm",
        "So",
        "Z",
        "Zl",
        "Zp",
        "Zs",
    ]
)
# Java's names of binary properties -> the engine's.
_BINARY: Final = {
    "alphabetic": r"\p{Alphabetic}",
    "ideographic": r"\p{Ideographic}",
    "letter": r"\p{L}",
    "lowercase": r"\p{Lowercase}",
    "uppercase": r"\p{Uppercase}",
    "titlecase": r"\p{Lt}",
    "punctuation": r"\p{P}",
    "control": r"\p{Cc}",
    "white_space": r"\p{White_Space}",
    "digit": r"\p{Nd}",
    "hex_digit": r"\p{Hex_Digit}",
    "assigned": r"\P{Cn}",
    "noncharacter_code_point": r"\p{Noncharacter_Code_Point}",
}
_SIMPLE_ESCAPES: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "a": "\a", "e": "\x1b", "v": "\x0b"}
_LATER_JAVA: Final = {
    "h": "Java 8",
    "H": "Java 8",
    "V": "Java 8",
    "R": "Java 8",
    "X": "Java 9",
    "N": "Java 9",
}
_BOUNDARY_SET = r"[\p{L}\p{Nd}_]"
_WORD_BOUNDARY = rf"(?:(?<={_BOUNDARY_SET})(?!{_BOUNDARY_SET})|(?<!{_BOUNDARY_SET})(?={_BOUNDARY_SET}))"
_NOT_WORD_BOUNDARY = rf"(?:(?<={_BOUNDARY_SET})(?={_BOUNDARY_SET})|(?<!{_BOUNDARY_SET})(?!{_BOUNDARY_SET}))"
_INPUT_END = rf"(?!(?<=\r)\n)(?=(?:\r\n|[{_TERMINATORS}])?\Z)"
_LINE_END = rf"(?!(?<=\r)\n)(?=[{_TERMINATORS}]|\Z)"
_LINE_START = r"(?!\Z)(?:\A|(?<=[\n\x85\u2028\u2029])|(?<=\r)(?!\n))"


@dataclass(frozen=True)
class _Flags:
    ignore_case: bool = False  # i
    unicode_case: bool = False  # u
    dot_all: bool = False  # s
    multiline: bool = False  # m
    unix_lines: bool = False  # d
    comments: bool = False  # x
    unicode_classes: bool = False  # U


_FLAG_NAMES = {
    "i": "ignore_case",
    "u": "unicode_case",
    "s": "dot_all",
    "m": "multiline",
    "d": "unix_lines",
    "x": "comments",
    "U": "unicode_classes",
}


@dataclass(frozen=True)
class Translation:
    """A pattern for the `regex` engine, with what a replacement may refer to."""

    pattern: str
    groups: int
    names: dict[str, int]


def translate(java: str) -> Translation:
    """Translate a Java 7 pattern; RegexProblem for a syntax error or what has no exact counterpart."""
    if len(java) > MAX_PATTERN:
        raise RegexProblem(f"the pattern has {len(java):,} characters; at most {MAX_PATTERN:,} are allowed")
    translator = _Translator(java)
    pattern, size = translator.alternatives(_Flags(), depth=0)
    if translator.at < len(java):
        raise RegexProblem(f"unmatched ) at character {translator.at + 1}")
    if size > MAX_REPEATS:
        raise RegexProblem(
            f"its counted repetitions multiply to {size:,} elements; at most {MAX_REPEATS:,} are allowed"
        )
    return Translation(pattern, translator.groups, translator.names)


class _Translator:
    """A recursive-descent parser over the Java pattern that writes the translation as it goes."""

    def __init__(self, java: str) -> None:
        self.java = java
        self.at = 0
        self.groups = 0
        self.names: dict[str, int] = {}

    def peek(self, length: int = 1) -> str:
        return self.java[self.at : self.at + length]

    def take(self, text: str) -> bool:
        if self.java.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def fail(self, what: str, start: int | None = None) -> RegexProblem:
        return RegexProblem(f"{what} at character {(self.at if start is None else start) + 1}")

    def skip_comments(self, flags: _Flags) -> None:
        while flags.comments and self.at < len(self.java):
            if self.peek() in " \t\n\x0b\f\r":
                self.at += 1
            elif self.peek() == "#":
                while self.at < len(self.java) and self.peek() not in "\n\r\x85\u2028\u2029":
                    self.at += 1
            else:
                return

    # --- structure ---

    def alternatives(self, flags: _Flags, depth: int) -> tuple[str, int]:
        """Translate up to the closing parenthesis or the end; give the text and its written-out size."""
        if depth > _MAX_GROUP_DEPTH:
            raise self.fail(f"groups nested deeper than {_MAX_GROUP_DEPTH}")
        out: list[str] = []
        total = 0
        while True:
            self.skip_comments(flags)
            here = self.peek()
            if here in ("", ")"):
                return "".join(out), total
            if here == "|":
                self.at += 1
                out.append("|")
                continue
            if here in "*+?":
                raise self.fail(f"{here} has nothing to repeat")
            if here == "{":
                raise self.fail("{ has nothing to repeat; a literal brace is \\{")
            if here == "(":
                atom, size, changed = self.group(flags, depth)
                if changed is not None:
                    flags = changed
                    continue
            elif here == "[":
                self.at += 1
                atom, size = self.char_class(flags), 1
            elif self.take("\\Q"):
                quoted = [self.literal(char, flags) for char in self.quoted()]
                if not quoted:
                    continue
                # A quantifier behind \\E repeats the last character only.
                out += quoted[:-1]
                atom, size = quoted[-1], 1
            else:
                atom, size = self.atom(flags), 1
            self.skip_comments(flags)
            quantifier, times = self.quantifier()
            if quantifier:
                self.skip_comments(flags)
                if self.peek() and self.peek() in "*+?{":
                    raise self.fail(f"{self.peek()} repeats a repetition; put the inner one in (?:…)")
                atom = f"(?:{atom}){quantifier}"
            out.append(atom)
            total += size * times
            if total > MAX_REPEATS:
                raise RegexProblem(f"its counted repetitions multiply to more than {MAX_REPEATS:,} elements")

    def quoted(self) -> str:
        r"""Read the text up to `\E` or, as Java does, to the end of the pattern."""
        start = self.at
        end = self.java.find("\\E", start)
        self.at = len(self.java) if end < 0 else end + 2
        return self.java[start:] if end < 0 else self.java[start:end]

    def quantifier(self) -> tuple[str, int]:
        """Read a quantifier with its lazy or possessive mark, and how often it writes its atom out."""
        start = self.at
        if self.take("*") or self.take("+") or self.take("?"):
            text, times = self.java[start], 1
        elif self.take("{"):
            low = self.digits()
            if not low:
                raise self.fail("{ without a number; a literal brace is \\{", start)
            high = low
            text = f"{{{low}"
            if self.take(","):
                high = self.digits()
                text += f",{high}"
            if not self.take("}"):
                raise self.fail("{ without }", start)
            text += "}"
            if len(low) > 9 or len(high) > 9 or (high and int(high) < int(low)):
                raise self.fail(f"illegal repetition range {text}", start)
            times = max(int(low), int(high or 0), 1)
        else:
            return "", 1
        if self.take("?"):
            text += "?"
        elif self.take("+"):
            text += "+"
        return text, times

    def digits(self) -> str:
        start = self.at
        while self.peek() and self.peek() in "0123456789":
            self.at += 1
        return self.java[start : self.at]

    def group(self, flags: _Flags, depth: int) -> tuple[str, int, _Flags | None]:
        """Translate `(…)`; or, for `(?flags)`, give the flags that hold from here on."""
        start = self.at
        self.at += 1
        if not self.take("?"):
            self.groups += 1
            opening = "("
        elif self.take(":"):
            opening = "(?:"
        elif self.take(">"):
            opening = "(?>"
        elif self.take("="):
            opening = "(?="
        elif self.take("!"):
            opening = "(?!"
        elif self.take("<="):
            opening = "(?<="
        elif self.take("<!"):
            opening = "(?<!"
        elif self.take("<"):
            end = self.java.find(">", self.at)
            name = self.java[self.at : end] if end >= 0 else ""
            if not (name.isascii() and name.isalnum() and name[:1].isalpha()):
                raise self.fail("a group name is letters and digits, a letter first:", start)
            if name in self.names:
                raise self.fail(f"the group name {name} is given twice", start)
            self.at = end + 1
            self.groups += 1
            self.names[name] = self.groups
            opening = "("
        else:
            flags = self.inline_flags(flags, start)
            if self.take(")"):
                return "", 0, flags
            self.at += 1  # the colon, which inline_flags has seen
            opening = "(?:"
        body, size = self.alternatives(flags, depth + 1)
        if not self.take(")"):
            raise self.fail("( without )", start)
        return f"{opening}{body})", max(size, 1), None

    def inline_flags(self, flags: _Flags, start: int) -> _Flags:
        value = True
        while True:
            letter = self.peek()
            if letter in (")", ":"):
                return flags
            self.at += 1
            if letter == "-" and value:
                value = False
            elif letter in _FLAG_NAMES:
                change: dict[str, Any] = {_FLAG_NAMES[letter]: value}
                if letter == "U" and value:
                    change["unicode_case"] = True
                flags = replace(flags, **change)
            else:
                raise self.fail(f"(?{letter} is not a group of Java 7", start)

    # --- single characters ---

    def atom(self, flags: _Flags) -> str:
        char = self.peek()
        self.at += 1
        if char == ".":
            if flags.dot_all:
                return "(?s:.)"
            return r"[^\n]" if flags.unix_lines else f"[^{_TERMINATORS}]"
        if char == "^":
            if not flags.multiline:
                return r"\A"
            return r"(?!\Z)(?:\A|(?<=\n))" if flags.unix_lines else _LINE_START
        if char == "$":
            if flags.unix_lines:
                return r"(?=\n|\Z)" if flags.multiline else r"(?=\n?\Z)"
            return _LINE_END if flags.multiline else _INPUT_END
        if char == "\\":
            return self.escape(flags)
        return self.literal(char, flags)

    def escape(self, flags: _Flags) -> str:
        start = self.at - 1
        char = self.peek()
        shorthand = self.shorthand(flags)
        if shorthand is not None:
            return shorthand if shorthand.startswith("[^") else f"[{shorthand}]"
        if char in "123456789" and char:
            return self.back_reference(flags, start)
        if char == "k":
            self.at += 1
            end = self.java.find(">", self.at)
            name = self.java[self.at + 1 : end] if self.peek() == "<" and end >= 0 else ""
            if name not in self.names:
                raise self.fail(rf"\k refers to no group named {name!r}", start)
            self.at = end + 1
            return self.reference(self.names[name], flags)
        if char and char in "bBAGZz":
            self.at += 1
            if char == "b" and self.peek() == "{":
                raise self.fail(r"\b{…} (Java 9) has no counterpart", start)
            boundary = {"b": _WORD_BOUNDARY, "B": _NOT_WORD_BOUNDARY, "A": r"\A", "G": r"\G", "z": r"\Z"}
            if char == "Z":
                return r"(?=\n?\Z)" if flags.unix_lines else _INPUT_END
            return boundary[char]
        return self.literal(self.escaped_character(), flags)

    def shorthand(self, flags: _Flags) -> str | None:
        r"""Translate `\d \w \s \p{…}` and their negations to the content of a class, or give None."""
        char = self.peek()
        if char and char in "dDwWsS":
            self.at += 1
            if flags.unicode_classes:
                body = {
                    "d": r"\p{Nd}",
                    "w": r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}",
                    "s": r"\p{White_Space}",
                }[char.lower()]
            else:
                body = {"d": _DIGIT, "w": _WORD, "s": _SPACE}[char.lower()]
            return body if char.islower() else _complement(body)
        if char and char in "pP":
            self.at += 1
            body = self.property(flags)
            return body if char == "p" else _complement(body)
        return None

    def property(self, flags: _Flags) -> str:
        start = self.at - 2
        if self.take("{"):
            end = self.java.find("}", self.at)
            if end < 0:
                raise self.fail(r"\p{ without }", start)
            name = self.java[self.at : end]
            self.at = end + 1
        else:
            name = self.peek()
            self.at += 1
        shown = rf"\p{{{name}}}"
        if name in _POSIX:
            if flags.unicode_classes and name != "ASCII":
                raise self.fail(f"{shown} under (?U) has no exact counterpart", start)
            return _POSIX[name]
        if name in _CATEGORIES:
            return r"\p{Lu}\p{Ll}\p{Lt}" if name == "LC" else rf"\p{{{name}}}"
        key, _, value = name.partition("=")
        if value and key.lower() in ("general_category", "gc") and value in _CATEGORIES:
            return rf"\p{{{value}}}"
        if name.startswith("Is"):
            if name[2:] in _CATEGORIES:
                return rf"\p{{{name[2:]}}}"
            if name[2:].lower() in _BINARY:
                return _BINARY[name[2:].lower()]
            return self.checked(rf"\p{{Script={name[2:]}}}", name[2:], shown, start)
        if value and key.lower() in ("script", "sc"):
            return self.checked(rf"\p{{Script={value}}}", value, shown, start)
        if value and key.lower() in ("block", "blk"):
            return self.checked(rf"\p{{Block={value}}}", value, shown, start)
        if name.startswith("In"):
            return self.checked(rf"\p{{Block={name[2:]}}}", name[2:], shown, start)
        raise self.fail(f"the character property {shown} has no counterpart", start)

    def checked(self, translated: str, value: str, shown: str, start: int) -> str:
        if not all(char.isalnum() or char in "_- " for char in value) or not value.isascii():
            raise self.fail(f"the character property {shown} has no counterpart", start)
        try:
            regex.compile(f"[{translated}]")
        except regex.error:
            raise self.fail(f"the character property {shown} has no counterpart", start) from None
        return translated

    def back_reference(self, flags: _Flags, start: int) -> str:
        number = int(self.peek())
        self.at += 1
        while self.peek() and self.peek() in "0123456789" and number * 10 + int(self.peek()) <= self.groups:
            number = number * 10 + int(self.peek())
            self.at += 1
        if number > self.groups:
            raise self.fail(rf"\{number} refers to a group that is not there", start)
        return self.reference(number, flags)

    def reference(self, number: int, flags: _Flags) -> str:
        return rf"(?i:\g<{number}>)" if flags.ignore_case else rf"\g<{number}>"

    def escaped_character(self) -> str:
        r"""Read the character that an escape stands for; `at` is behind the backslash."""
        start = self.at - 1
        char = self.peek()
        self.at += 1
        if not char:
            raise self.fail("a backslash at the end", start)
        if char in _SIMPLE_ESCAPES:
            return _SIMPLE_ESCAPES[char]
        if char == "0":
            digits = ""
            while (
                len(digits) < 3
                and self.peek()
                and self.peek() in "01234567"
                and int(digits + self.peek(), 8) <= 255
            ):
                digits += self.peek()
                self.at += 1
            if not digits:
                raise self.fail(r"\0 without octal digits", start)
            return chr(int(digits, 8))
        if char == "x":
            if self.take("{"):
                end = self.java.find("}", self.at)
                code = self.hexadecimal(self.java[self.at : end] if end >= 0 else "", r"\x{…}", start)
                self.at = end + 1
                return chr(code)
            code = self.hexadecimal(self.peek(2), r"\x", start, digits=2)
            self.at += 2
            return chr(code)
        if char == "u":
            code = self.hexadecimal(self.peek(4), r"\u", start, digits=4)
            self.at += 4
            if 0xD800 <= code < 0xDC00 and self.peek(2) == "\\u":
                low = self.hexadecimal(self.java[self.at + 2 : self.at + 6], r"\u", self.at, digits=4)
                if 0xDC00 <= low < 0xE000:
                    self.at += 6
                    return chr(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00))
            return chr(code)
        if char == "c":
            control = self.peek()
            if not control:
                raise self.fail(r"\c without a character", start)
            self.at += 1
            return chr(ord(control) ^ 64)
        if char in _LATER_JAVA:
            raise self.fail(rf"\{char} ({_LATER_JAVA[char]}) is not in Java 7", start)
        if char.isascii() and char.isalpha():
            raise self.fail(rf"unknown escape \{char}", start)
        return char

    def hexadecimal(self, text: str, shown: str, start: int, digits: int | None = None) -> int:
        valid = all(char in "0123456789abcdefABCDEF" for char in text) and 0 < len(text) <= 6
        if not valid or (digits is not None and len(text) != digits) or int(text, 16) > 0x10FFFF:
            raise self.fail(f"{shown} without a valid hexadecimal code", start)
        return int(text, 16)

    def literal(self, char: str, flags: _Flags) -> str:
        if flags.ignore_case:
            if flags.unicode_case:
                return f"(?i:{_code(char)})"
            if char.isascii() and char.isalpha():
                return f"[{char.lower()}{char.upper()}]"
        return _code(char)

    # --- character classes ---

    def char_class(self, flags: _Flags, depth: int = 1) -> str:
        """Translate a class whose opening bracket is read, to an expression that matches one character."""
        if depth > _MAX_GROUP_DEPTH:
            raise self.fail(f"classes nested deeper than {_MAX_GROUP_DEPTH}")
        start = self.at - 1
        negated = self.take("^")
        operands: list[tuple[list[str], list[str]]] = [([], [])]
        while True:
            if flags.comments:
                self.skip_comments(flags)
            flat, nested = operands[-1]
            here = self.peek()
            if here == "":
                raise self.fail("[ without ]", start)
            if here == "]" and (flat or nested or len(operands) > 1):
                self.at += 1
                break
            if self.take("&&"):
                if not (flat or nested):
                    raise self.fail("&& with nothing on its left", self.at - 2)
                operands.append(([], []))
            elif self.take("["):
                nested.append(self.char_class(flags, depth + 1))
            elif self.take("\\Q"):
                flat += [_range(char, char, flags) for char in self.quoted()]
            else:
                flat.append(self.class_item(flags))
        if not all(flat or nested for flat, nested in operands):
            raise self.fail("&& with nothing on its right", start)
        if negated and (len(operands) > 1 or operands[0][1]):
            raise self.fail(
                "a negated class with && or a class inside means one thing in Java 7 and another since "
                "Java 9; "
                "write it with a lookahead: (?!…)",
                start,
            )
        written = [_union(flat, nested, negated, flags) for flat, nested in operands]
        # An intersection looks ahead with all operands but the last.
        text = "".join(f"(?={operand})" for operand in written[:-1]) + written[-1]
        return f"(?:{text})" if len(written) > 1 else text

    def class_item(self, flags: _Flags) -> str:
        start = self.at
        if self.peek() == "\\":
            self.at += 1
            shorthand = self.shorthand(flags)
            if shorthand is not None:
                if self.peek() == "-" and self.java[self.at + 1 : self.at + 2] not in ("]", "[", ""):
                    raise self.fail("a range cannot start with a class", start)
                return shorthand
            low = self.escaped_character()
        else:
            low = self.peek()
            self.at += 1
        if self.peek() != "-" or self.java[self.at + 1 : self.at + 2] in ("]", "[", ""):
            return _range(low, low, flags)
        if self.java.startswith("-&&", self.at):
            return _range(low, low, flags)
        self.at += 1
        if self.take("\\"):
            if self.peek() and self.peek() in "dDwWsSpP":
                raise self.fail("a range cannot end with a class", start)
            high = self.escaped_character()
        else:
            high = self.peek()
            self.at += 1
        if high < low:
            raise self.fail(f"the character range {low}-{high} is empty", start)
        return _range(low, high, flags)


def _code(char: str) -> str:
    """Write one character so that it has no meaning but itself, inside a class or out of it."""
    if char.isascii() and char.isalnum():
        return char
    code = ord(char)
    if code < 0x100:
        return rf"\x{code:02x}"
    return rf"\u{code:04x}" if code < 0x10000 else rf"\U{code:08x}"


def _range(low: str, high: str, flags: _Flags) -> str:
    """Write a range for a class; under (?i) with the other case of its ASCII letters."""
    text = _code(low) if low == high else f"{_code(low)}-{_code(high)}"
    if flags.ignore_case and not flags.unicode_case:
        for first, last, shift in (("a", "z", -32), ("A", "Z", 32)):
            start, end = max(low, first), min(high, last)
            if start <= end:
                text += f"{chr(ord(start) + shift)}-{chr(ord(end) + shift)}"
    return text


def _complement(body: str) -> str:
    """Write the complement of a class's content as the content of a class."""
    if body.startswith(r"\p{") and body.count("{") == 1:
        return r"\P" + body[2:]
    if body.startswith(r"\P{") and body.count("{") == 1:
        return r"\p" + body[2:]
    return f"[^{body}]"


def _union(flat: list[str], nested: list[str], negated: bool, flags: _Flags) -> str:
    """Write a union: one class of the plain content, alternatives of complements and nested classes."""
    plain = "".join(item for item in flat if not item.startswith("[^"))
    others = [item for item in flat if item.startswith("[^")] + nested
    folded = flags.ignore_case and flags.unicode_case
    if not others:
        text = f"[{'^' if negated else ''}{plain}]"
        return f"(?i:{text})" if folded else text
    choices = ([f"[{plain}]"] if plain else []) + others
    text = f"(?:{'|'.join(choices)})"
    if negated:
        text = f"(?:(?!{text})(?s:.))"
    return f"(?i:{text})" if folded else text


# --- replacements ---


def replacement_parts(java: str, translation: Translation) -> list[str | int]:
    r"""Parse a replacement string of Java's `Matcher.appendReplacement`: literals and group numbers.

    `$1` and `${name}` are groups, `\` takes the next character literally. RegexProblem for a reference to a
    group that is not there, or a `$` or `\` with nothing to refer to: Java raises at the first match, this at
    load.
    """
    parts: list[str | int] = []
    literal = ""
    at = 0
    while at < len(java):
        char = java[at]
        at += 1
        if char == "\\":
            if at == len(java):
                raise RegexProblem("the replacement ends with a backslash")
            literal += java[at]
            at += 1
        elif char == "$":
            if literal:
                parts.append(literal)
                literal = ""
            if java[at : at + 1] == "{":
                end = java.find("}", at)
                if end < 0:
                    raise RegexProblem("the replacement has ${ without }")
                name = java[at + 1 : end]
                if name not in translation.names:
                    raise RegexProblem(f"${{{name}}} in the replacement names no group of the pattern")
                parts.append(translation.names[name])
                at = end + 1
            elif java[at : at + 1].isascii() and java[at : at + 1].isdigit():
                number = int(java[at])
                at += 1
                while java[at : at + 1].isascii() and java[at : at + 1].isdigit():
                    longer = number * 10 + int(java[at])
                    if longer > translation.groups:
                        break
                    number = longer
                    at += 1
                if number > translation.groups:
                    raise RegexProblem(
                        f"${number} in the replacement: the pattern has {translation.groups} groups"
                    )
                parts.append(number)
            else:
                raise RegexProblem(r"a $ in the replacement must be followed by a group; a literal one is \$")
        else:
            literal += char
    if literal:
        parts.append(literal)
    return parts


# --- matching ---


class BoundedPattern:
    """A compiled Java pattern whose matches cannot take more than a stated time.

    The first slow match may take `MATCH_SECONDS`, more for a long text (`MATCH_CHARACTERS`); each match that
    exceeds its time raises RowError and halves the time of the next, down to `MIN_MATCH_SECONDS`: a file of
    hostile rows costs 2 s and then 8 ms for each.
    """

    def __init__(self, java: str) -> None:
        self.java = java
        self.translation = translate(java)
        try:
            self._pattern = regex.compile(self.translation.pattern, regex.VERSION0)
        except (regex.error, RecursionError, OverflowError) as error:
            raise RegexProblem(f"the engine refuses it: {error}") from None
        self._seconds = MATCH_SECONDS

    def fullmatch(self, text: str) -> bool:
        """Whether the whole text matches, as Java's `matches()`; RowError if it takes too long."""
        seconds = self._time_for(text)
        try:
            return self._pattern.fullmatch(text, timeout=seconds) is not None
        except (TimeoutError, MemoryError):
            raise self._exceeded(seconds) from None

    def replace_all(self, text: str, parts: list[str | int]) -> str:
        """Replace every match as Java's `replaceAll`; RowError if it takes too long or the text gets too
        long.
        """
        seconds = self._time_for(text)
        try:
            if self._most(text, parts) <= MAX_TEXT:
                return str(self._pattern.sub(_template(parts), text, timeout=seconds))
            return self._replace_counting(text, parts, seconds)
        except (TimeoutError, MemoryError):
            raise self._exceeded(seconds) from None

    def _time_for(self, text: str) -> float:
        return self._seconds * (1 + len(text) / MATCH_CHARACTERS)

    def _most(self, text: str, parts: list[str | int]) -> int:
        """Bound the length of the result from above: a match at each character, each group the whole text."""
        per_match = sum(len(text) if isinstance(part, int) else len(part) for part in parts)
        return len(text) + (len(text) + 1) * per_match

    def _replace_counting(self, text: str, parts: list[str | int], seconds: float) -> str:
        out: list[str] = []
        size = end = 0
        for match in self._pattern.finditer(text, timeout=seconds):
            pieces = [text[end : match.start()]]
            pieces += [(match[part] or "") if isinstance(part, int) else part for part in parts]
            end = match.end()
            size += sum(map(len, pieces))
            if size > MAX_TEXT:
                raise RowError("", f"the replaced text would exceed {MAX_TEXT:,} characters")
            out += pieces
        return "".join([*out, text[end:]])

    def _exceeded(self, seconds: float) -> RowError:
        self._seconds = max(MIN_MATCH_SECONDS, self._seconds / 2)
        expression = shorten(repr(self.java))
        return RowError(
            "", f"the regular expression {expression} took more than {seconds:.2g} s on this text"
        )


def _template(parts: list[str | int]) -> str:
    return "".join(rf"\g<{part}>" if isinstance(part, int) else part.replace("\\", "\\\\") for part in parts)
