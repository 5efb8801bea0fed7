"""What firmware/build takes its packages from, and what it lets into an image: the functions of its shell scripts, with folders made here."""

import os
import pathlib
import re
import shlex
import subprocess
import tempfile
import unittest

import paths

IMAGE = paths.TESTS.parent / "firmware/image"


def call(script, *words):
    """What a function of firmware/image/SCRIPT prints."""
    command = f"set -euo pipefail; source {shlex.quote(str(IMAGE / script))}; {shlex.join(map(str, words))}"
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()


class SourcesTest(unittest.TestCase):
    def test_security_updates_are_among_them(self):
        security = "deb http://security.debian.org/debian-security bookworm-security main"
        self.assertEqual(call("rootfs.sh", "debian_sources", "", ""),
                         ["deb http://deb.debian.org/debian bookworm main", "deb http://deb.debian.org/debian bookworm-updates main", security])
        near = ["deb http://mirror.example/debian bookworm main", "deb http://mirror.example/debian bookworm-updates main"]
        self.assertEqual(call("rootfs.sh", "debian_sources", "http://mirror.example/debian", ""), [*near, security])
        self.assertEqual(call("rootfs.sh", "debian_sources", "http://mirror.example/debian", "http://mirror.example/security"),
                         [*near, "deb http://mirror.example/security bookworm-security main"])


class CommandLineTest(unittest.TestCase):
    def test_it_is_the_image_alone_that_says_what_process_1_does(self):
        [line] = call("pack.sh", "command_line", "0" * 64, "serial")
        words = line.split(" ")
        self.assertEqual(words[0], "roothash=" + "0" * 64)
        self.assertIn("systemd.import_credentials=no", words, "none that the machine's SMBIOS or fw_cfg brings")
        self.assertEqual(words[-2:], ["console=tty0", "console=ttyS0,115200"])


class RootTest(unittest.TestCase):
    """Which partitions the initrd takes, where several disks have the image. A sysfs and a blkid are made here."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="hallmark-root-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.sysfs, self.found = self.folder / "sys", {"data": [], "tree": []}
        (self.sysfs / "class/block").mkdir(parents=True)
        (self.folder / "blkid").write_text('#!/bin/sh\ncase " $* " in *" PARTUUID=data "*) what=data ;; *" PARTUUID=tree "*) what=tree ;; esac\n'
                                           f'cat {self.folder}/$what; [ -s {self.folder}/$what ]\n')
        (self.folder / "blkid").chmod(0o755)

    def partition(self, disk, number, label, what=None):
        folder = self.sysfs / "devices/block" / disk / f"{disk}{number}"
        folder.mkdir(parents=True)
        (folder / "uevent").write_text(f"DEVTYPE=partition\nPARTNAME={label}\n")
        (self.sysfs / "class/block" / folder.name).symlink_to(folder)
        if what:
            self.found[what].append(f"/dev/{folder.name}")

    def image(self, disk):
        self.partition(disk, 2, "hallmark-root-a", "data")
        self.partition(disk, 3, "hallmark-tree-a", "tree")

    def sh(self, commands, *words):
        for what, devices in self.found.items():
            (self.folder / what).write_text("".join(f"{device}\n" for device in devices))
        text = (IMAGE / "init").read_text()
        functions = "".join(re.search(rf"^{name}\(\) \{{\n.*?^\}}\n", text, re.MULTILINE | re.DOTALL).group()
                            for name in ("disk_of", "pairs", "own_partitions", "open_root"))
        return subprocess.run(["sh", "-euc", f"data_uuid=data tree_uuid=tree hash=0\n{functions}{commands}", "sh", *words], timeout=60, check=True,
                              capture_output=True, text=True, env={**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}"}).stdout.splitlines()

    def pairs(self):
        return self.sh('pairs "$1"', self.sysfs)

    def test_one_disk(self):
        self.assertEqual(self.pairs(), [])
        self.image("sda")
        self.assertEqual(self.pairs(), ["/dev/sda2 /dev/sda3"])

    def test_a_copy(self):
        self.image("sda")
        self.image("nvme0n1")
        self.assertEqual(self.pairs(), ["/dev/sda2 /dev/sda3", "/dev/nvme0n12 /dev/nvme0n13"])
        self.partition("nvme0n1", 6, "hallmark-state")
        self.assertEqual(self.pairs(), ["/dev/nvme0n12 /dev/nvme0n13", "/dev/sda2 /dev/sda3"], "the box first")

    def test_half_a_copy(self):
        self.partition("sda", 2, "hallmark-root-a", "data")
        self.assertEqual(self.pairs(), [])
        self.image("sdb")
        self.assertEqual(self.pairs(), ["/dev/sdb2 /dev/sdb3"])

    def test_the_first_that_is_right_is_opened(self):
        commands = ('veritysetup() { echo "$*"; [ "$3" = "$good" ]; }\nstop() { echo "$1"; exit; }\n'
                    'good=$1; shift; open_root "$@"; echo "$data"')
        self.assertEqual(self.sh(commands, "/dev/b1", "/dev/a1", "/dev/a2", "/dev/b1", "/dev/b2"), [
            "open --panic-on-corruption /dev/a1 root /dev/a2 0", "open --panic-on-corruption /dev/b1 root /dev/b2 0", "/dev/b1"])
        self.assertEqual(self.sh(commands, "none", "/dev/a1", "/dev/a2")[-1], "the root partition is not what this kernel was made for")

    def test_names_of_this_disk_alone(self):
        self.assertEqual(self.sh('own_partitions "$1"', "sda"), [
            'SUBSYSTEM=="block", ENV{DEVTYPE}=="partition", KERNELS=="sda", ENV{ID_PART_ENTRY_NAME}=="hallmark-?*", '
            'SYMLINK+="disk/own/$env{ID_PART_ENTRY_NAME}"'])


class ConsoleTest(unittest.TestCase):
    def test_the_last_is_the_one_that_was_asked_for(self):
        self.assertEqual(call("pack.sh", "console_options", "serial"), ["console=tty0 console=ttyS0,115200"])
        self.assertEqual(call("pack.sh", "console_options", "screen"), ["console=ttyS0,115200 console=tty0"])

    def test_who_is_told_what(self):
        function = re.search(r"^on_consoles\(\) \{\n.*?^\}\n", (IMAGE / "init").read_text(), re.MULTILINE | re.DOTALL).group()
        for active, which, told in (("tty0 ttyS0", "other", ["tty0"]), ("tty0 ttyS0", "all", ["tty0", "ttyS0"]), ("tty0", "other", []),
                                    ("tty0", "all", ["tty0"]), ("ttyS1 ttyS0 tty0", "other", ["ttyS0", "ttyS1"])):
            with self.subTest(active, which=which), tempfile.TemporaryDirectory(prefix="hallmark-consoles-") as folder:
                sysfs, dev = pathlib.Path(folder, "sys"), pathlib.Path(folder, "dev")
                (sysfs / "class/tty/console").mkdir(parents=True)
                dev.mkdir()
                (sysfs / "class/tty/console/active").write_text(active + "\n")
                subprocess.run(["sh", "-euc", function + 'on_consoles "$@"', "sh", which, sysfs, dev, "where it speaks"], timeout=60, check=True)
                self.assertEqual({path.name: path.read_text() for path in dev.iterdir()}, {name: "where it speaks\n" for name in told})


class ForbiddenTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="hallmark-rootfs-")
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        for program in ("usr/bin/ld.so", "usr/bin/cat", "usr/sbin/agetty", "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"):
            self.put(program)
        self.put("lib/systemd/system/getty@.service", "[Service]\nExecStart=-/sbin/agetty %I\n")
        self.put("lib/systemd/system/hallmark-signerd.service", "[Service]\nExecStart=/usr/sbin/signerd\n")
        self.mask("getty@.service")
        self.put("etc/passwd", "root:x:0:0:root:/root:/bin/bash\nsshd:*:101:101::/:/bin/false\n")
        self.put("etc/shadow", "root:*:19000:0:99999:7:::\nhallmark:!*:19000::::::\nlocked:!$y$j9T$x:19000::::::\n")

    def put(self, name, text=""):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def mask(self, unit):
        path = self.root / "etc/systemd/system" / unit
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to("/dev/null")

    def found(self):
        return call("forbidden.sh", "forbidden_in", self.root)

    def test_nothing_is_found_where_nothing_is(self):
        self.assertEqual(self.found(), [])

    def test_programs(self):
        names = ["usr/sbin/sshd", "usr/bin/cc", "usr/bin/gcc", "usr/bin/x86_64-linux-gnu-gcc-12", "usr/bin/g++", "usr/bin/ld", "usr/bin/ld.bfd",
                 "usr/bin/x86_64-linux-gnu-ld", "usr/lib/gcc/x86_64-linux-gnu/12/cc1", "usr/local/bin/clang-14", "usr/sbin/dropbear"]
        for name in names:
            self.put(name)
        (self.root / "usr/bin/c99").symlink_to("gcc")
        self.assertEqual(sorted(self.found()), sorted(f"a program: /{name}" for name in [*names, "usr/bin/c99"]))

    def test_units(self):
        self.put("lib/systemd/system/serial-getty@.service")
        self.put("usr/lib/systemd/system/ssh.socket")
        self.put("etc/systemd/system/vendor-console.service", "[Service]\nExecStart=/usr/sbin/sulogin\n")
        self.put("lib/systemd/system/vendor-shell.service", "[Service]\nExecStart=/bin/sh\n")
        (self.root / "etc/systemd/system/getty@.service").unlink()
        self.assertEqual(self.found(), [f"a unit that is not masked: {name}" for name in (
            "getty@.service", "serial-getty@.service", "ssh.socket", "vendor-console.service", "vendor-shell.service")])
        for name in ("getty@.service", "serial-getty@.service", "ssh.socket", "vendor-shell.service"):
            self.mask(name)
        self.assertEqual(self.found(), ["a unit that is not masked: vendor-console.service"])

    def test_passwords(self):
        self.put("etc/passwd", "root:x:0:0::/root:/bin/sh\nopen::1000:1000::/:/bin/sh\n")
        self.put("etc/shadow", "root:$y$j9T$abc:19000::::::\nempty::19000::::::\nlocked:!:19000::::::\n")
        self.assertEqual(self.found(), ["a password in /etc/shadow: root", "a password in /etc/shadow: empty", "a password in /etc/passwd: open"])


if __name__ == "__main__":
    unittest.main()
