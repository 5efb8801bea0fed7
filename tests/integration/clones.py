"""A group of SoftHSM tokens that are clones: each has its own folder, that of another copied."""

import re
import shutil


def make_group(hallmark, group, names):
    """Before the first start, in place of the one token of the set-up: tokens `names` of the group, still without keys."""
    home = hallmark.folder / "softhsm"

    def several(text):
        [block] = re.findall(r"^\[\[token\]\]\n(?:(?!\[).+\n)+", text, flags=re.MULTILINE)
        blocks = []
        for name in names:
            configuration = home / f"{name}.conf"
            configuration.write_text(f"directories.tokendir = {home / name}\n")
            shutil.copytree(home / "tokens", home / name)
            lines = re.sub(r'^name = ".*"$', f'name = "{name}"\ngroup = "{group}"', block, flags=re.MULTILINE)
            blocks.append(re.sub(r'SOFTHSM2_CONF = "[^"]*"', f'SOFTHSM2_CONF = "{configuration}"', lines))
        return text.replace(block, "\n".join(blocks))

    hallmark.edit_config(several)


def copy_keys(hallmark, source, target):
    """The token `target` becomes a clone of `source`, keys and all. While neither makes keys; the target's tokend must be started anew."""
    home = hallmark.folder / "softhsm"
    shutil.rmtree(home / target)
    shutil.copytree(home / source, home / target)


def pids_of(hallmark, name):
    """The pids of the tokend processes of the token `name`."""
    wanted = f"/{name}.conf".encode()
    return [pid for pid in hallmark.tokend_pids() if wanted in _environment(pid)]


def _environment(pid):
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return b""
