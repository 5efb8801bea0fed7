#!/usr/bin/env python3
"""Writes dkimctl(1): a page by hand in which the line @COMMANDS@ becomes every command, as its --help says.

  dkimctl_page.py DKIMCTL PAGE.in PAGE
"""

import pathlib
import re
import sys

import program_help

# Said once in the page.
COMMON = {"--help", "--dir", "--output", "--timeout", "--as"}


def escaped(text):
    """Text that groff takes as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def macro_words(text):
    """Arguments of a macro. A word that is a macro's name or punctuation would be taken as that."""
    return " ".join(f'"\\&{escaped(word)}"' for word in text.replace('"', "").split())


def option_lines(head, text):
    """`-f,--file FILE`, `--timestamp,--no-timestamp{false}`, `--most INT:INT in [1 - 100]=9` and what they mean, as mdoc has it."""
    head = head.split(" Excludes: ")[0].replace("{false}", "").removesuffix(" REQUIRED")
    names, _, value = head.partition(" ")
    flags = " , ".join(f"Fl {escaped(name[1:])}" for name in names.split(","))
    value = "NUMBER" if value.startswith("INT:") else value
    yield f".It {flags}" + (f" Ar {macro_words(value)}" if value else "")
    if text:
        yield escaped(text)


def item(words, found):
    arguments = re.sub(r"^.*?" + re.escape(" ".join(words)) + r"( \[OPTIONS\])?", "", found.usage).strip()
    yield f".It Ic {macro_words(' '.join(words))}" + (f" Ar {macro_words(arguments)}" if arguments else "")
    yield escaped(found.description) + "."
    options = [(head, text) for head, text in found.options
               if not COMMON & set(re.split(r"[ ,]", head))]
    if options:
        yield ".Bl -tag -width Ds -compact"
        for head, text in options:
            yield from option_lines(head, text)
        yield ".El"


def main(program, source, target):
    lines = [line for words, found in program_help.walk(program) for line in item(words, found)]
    page = pathlib.Path(source).read_text().replace("@COMMANDS@", "\n".join(lines))
    pathlib.Path(target).write_text(page)


if __name__ == "__main__":
    main(*sys.argv[1:])
