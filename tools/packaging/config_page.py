#!/usr/bin/env python3
"""Writes a page of section 5: a page by hand in which a line @SECTION N@ becomes the Nth table of that section of a manual.

  config_page.py MANUAL.md PAGE.in PAGE
"""

import itertools
import pathlib
import re
import sys

from dkimctl_page import escaped, macro_words


def rows(manual, section, number):
    """The cells of a table, without its head; not those of rows that only point elsewhere."""
    body = re.search(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", manual, re.MULTILINE | re.DOTALL).group(1)
    groups = itertools.groupby(body.splitlines(), lambda line: line.startswith("|"))
    table = [list(lines) for is_table, lines in groups if is_table][number - 1][2:]
    cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in table)
    return [row for row in cells if row[1] != "above"]


def plain(markdown):
    return escaped(markdown.replace("`", ""))


def sentence(text):
    text = text[0].upper() + text[1:].removesuffix(".") + "."  # a value stays as it is
    return re.sub(r"\. (?=[A-Z])", ".\n", text)  # a line each, as mdoc wants it


def item(key, text, default):
    words = macro_words(key.replace("`", ""))
    yield f".It Ic {words}"
    yield plain(sentence(text))
    if default == "required":
        yield "Required."
    elif default:
        yield plain(f"Default: {default}.")


def main(manual, source, target):
    text = pathlib.Path(manual).read_text()

    def keys(match):
        return "\n".join(line for row in rows(text, match.group(1), int(match.group(2))) for line in item(*row))

    pathlib.Path(target).write_text(re.sub(r"^@(.+) (\d+)@$", keys, pathlib.Path(source).read_text(), flags=re.MULTILINE))


if __name__ == "__main__":
    main(*sys.argv[1:])
