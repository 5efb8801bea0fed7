"""What a program's --help says, as data. Understands CLI11's way of writing it, and argparse's."""

import dataclasses
import re
import subprocess


@dataclasses.dataclass
class Help:
    """One program or command: its description, and (name, text) of what it takes."""

    description: str = ""
    usage: str = ""
    positionals: list = dataclasses.field(default_factory=list)
    options: list = dataclasses.field(default_factory=list)
    commands: list = dataclasses.field(default_factory=list)

    def long_options(self):
        return {name for head, _ in self.options for name in re.findall(r"--[a-z][a-z-]*", head.split(" Excludes: ")[0])}


SECTIONS = {"positionals": "positionals", "positional arguments": "positionals", "options": "options", "subcommands": "commands"}


def read(program, *words):
    """Asks `program words... --help`."""
    text = subprocess.run([program, *words, "--help"], capture_output=True, text=True, check=True, timeout=60,
                          env={"COLUMNS": "100"}).stdout
    column = re.search(r"^  -h, ?--help +", text, re.MULTILINE)
    column = column.end() - column.start()  # where the texts begin
    found, section, before = Help(), "", []
    for line in text.splitlines():
        title = re.fullmatch(r"([A-Z a-z]+):", line)
        if title:
            section = SECTIONS.get(title.group(1).lower(), "other")
        elif line.lower().startswith("usage: "):
            found.usage = line[7:]
        elif not section:
            before.append(line)
        elif section != "other" and line.startswith("  "):
            _add(getattr(found, section), line, column)
    found.description = " ".join(line.strip() for line in before if line.strip())
    return found


def _add(entries, line, column):
    head, text = line[:column], line[column:]
    if text and not head.endswith(" "):  # a long one: its text is on the next line
        head, text = line, ""
    if head.strip():
        entries.append((head.strip(), text.strip()))
    elif entries:
        name, before = entries[-1]
        entries[-1] = (name, (before + " " + text.strip()).strip())


def walk(program, words=()):
    """(words, Help) of every command that a person can give, in the order of --help."""
    found = read(program, *words)
    if not found.commands:
        yield words, found
    for name, _ in found.commands:
        yield from walk(program, (*words, name))
