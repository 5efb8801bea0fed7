#!/usr/bin/env python3
"""Writes a page of section 5: a page by hand in which the line @KEYS@ becomes the table of that section of the operations manual.

  config_page.py OPERATIONS.md SECTION PAGE.in PAGE
"""

import pathlib
import re
import sys

from dkimctl_page import escaped, macro_words


def rows(manual, section):
    """The cells of the section's table, without its head."""
    body = re.search(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", manual, re.MULTILINE | re.DOTALL).group(1)
    table = [line for line in body.splitlines() if line.startswith("|")]
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in table[2:]]


def sentence(text):
    text = text[0].upper() + text[1:]
    return text if text.endswith((".", "?")) else text + "."


def item(key, text, default):
    yield f".It Ic {macro_words(key)}"
    yield escaped(sentence(text))
    if default == "required":
        yield "Required."
    elif default:
        yield escaped(f"Default: {default}.")


def main(manual, section, source, target):
    lines = [line for row in rows(pathlib.Path(manual).read_text(), section) for line in item(*row)]
    pathlib.Path(target).write_text(pathlib.Path(source).read_text().replace("@KEYS@", "\n".join(lines)))


if __name__ == "__main__":
    main(*sys.argv[1:])
