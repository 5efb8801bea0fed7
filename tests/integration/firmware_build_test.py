"""What firmware/build takes its packages from, and what it lets into an image: the functions of its shell scripts, with folders made here."""

import os
import pathlib
import re
import shlex
import subprocess
import tempfile
import unittest

import paths

ROOT = paths.TESTS.parent
IMAGE = ROOT / "firmware/image"


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


class PackagesTest(unittest.TestCase):
    def test_what_ours_recommend_is_among_them(self):
        """The image is made without what packages only recommend, and configurations name files of it: root.ds of dns-root-data."""
        listed = set(call("rootfs.sh", "entries", IMAGE / "packages"))
        made = (paths.TESTS.parent / "tools/packaging/CMakeLists.txt").read_text()
        for package in ("SIGNERD", "TOOLS"):
            [recommended] = re.findall(rf"^set\(CPACK_DEBIAN_{package}_PACKAGE_RECOMMENDS (.*)\)$", made, re.MULTILINE)
            self.assertLessEqual(set(recommended.strip('"').split(", ")), listed)


class KeysTest(unittest.TestCase):
    """Keys are whole or not there; programs of which one fails, or writes nothing."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="hallmark-keys-")
        self.addCleanup(folder.cleanup)
        self.folder, self.bin = pathlib.Path(folder.name), pathlib.Path(folder.name, "bin")
        self.bin.mkdir()
        self.program("uuidgen", "echo 00000000-0000-4000-8000-000000000000")
        for name in ("cert-to-efi-sig-list", "sign-efi-sig-list"):
            self.program(name, 'while [ $# -gt 1 ]; do shift; done; echo signed >"$1"')

    def program(self, name, text):
        (self.bin / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.bin / name).chmod(0o755)

    def sh(self, *words):
        """A function of keys.sh; why it failed, or nothing."""
        command = (f"set -euo pipefail; source {shlex.quote(str(IMAGE.parent.parent / 'tools/common.sh'))}; "
                   f"source {shlex.quote(str(IMAGE / 'keys.sh'))}; {shlex.join(map(str, words))}")
        done = subprocess.run(["bash", "-c", command, "build"], capture_output=True, text=True, timeout=120, check=False,
                              env={**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}"})
        self.assertEqual(done.returncode == 0, not done.stderr, done)
        return done.stderr

    def test_a_set_of_keys(self):
        keys = self.folder / "keys"
        self.assertEqual(self.sh("make_keys", keys), "")
        self.assertEqual(self.sh("check_keys", keys), "")
        self.assertEqual({path.stat().st_mode & 0o077 for path in keys.iterdir()}, {0})
        (keys / "db.auth").write_text("")
        self.assertIn(f"{keys} has not all of: ", self.sh("check_keys", keys))

    def trial_keys(self, default="nowhere"):
        return self.sh("trial_keys", self.folder / "keys", self.folder / default)

    def test_trial_keys_are_made_once(self):
        keys = self.folder / "keys"
        self.assertEqual(self.trial_keys(), "")
        self.assertIn("for trials", (keys / "TRIAL").read_text())
        made = {path.name: path.read_bytes() for path in keys.iterdir()}
        self.assertEqual(self.trial_keys(), "")
        self.assertEqual({path.name: path.read_bytes() for path in keys.iterdir()}, made)
        self.assertEqual({path.name for path in self.folder.iterdir()}, {"bin", "keys"})

    def test_nothing_is_removed_where_a_key_is_missing(self):
        """Its owner has it in a safe: the others are all that there is of them."""
        keys = self.folder / "keys"
        self.assertEqual(self.sh("make_keys", keys), "")
        (keys / "PK.key").unlink()
        kept = {path.name: path.read_bytes() for path in keys.iterdir()}
        self.assertIn("there is no PK.key", self.trial_keys(default="keys"))
        self.assertEqual({path.name: path.read_bytes() for path in keys.iterdir()}, kept)

    def test_keys_that_matter_are_not_taken_for_trial_keys(self):
        self.assertEqual(self.sh("make_keys", self.folder / "keys"), "")
        self.assertIn("its keys were not made for trials", self.trial_keys())
        self.assertEqual(self.trial_keys(default="keys"), "", "an earlier version put no mark on those of the default place")

    def test_keys_are_made_beside_what_is_there(self):
        (self.folder / "keys.new").mkdir()
        (self.folder / "keys.new/db.key").write_text("of somebody")
        self.assertEqual(self.sh("make_keys", self.folder / "keys"), "")
        self.assertEqual((self.folder / "keys.new/db.key").read_text(), "of somebody")

    def test_no_keys_where_a_program_fails(self):
        keys = self.folder / "keys"
        good = (self.bin / "sign-efi-sig-list").read_text()
        for name, text in (("cert-to-efi-sig-list", "echo no list >&2; exit 1"), ("sign-efi-sig-list", "echo no signature >&2; exit 1"),
                           ("openssl", '[ "$1" != genrsa ] || exit 1\nPATH=${PATH#*:}\nexec openssl "$@"')):
            with self.subTest(name):
                self.program(name, text)
                self.assertIn(f"making keys failed; see {keys}.log", self.sh("make_keys", keys))
                self.assertFalse(keys.exists())
                self.program(name, good.split("\n", 1)[1] if name != "openssl" else 'PATH=${PATH#*:}\nexec openssl "$@"')
        self.program("sign-efi-sig-list", "exit 0")  # and writes nothing
        self.assertIn("making keys failed", self.sh("make_keys", keys))
        self.assertIn("there is no PK.auth", (self.folder / "keys.log").read_text())
        self.assertEqual({path.name for path in self.folder.iterdir()}, {"bin", "keys.log"})

    def test_the_owners_ca(self):
        key, certificate = self.folder / "owner.key", self.folder / "owner.pem"
        self.assertEqual(self.sh("make_owner", key, certificate), "")
        self.assertEqual(self.sh("check_owner_ca", certificate), "")
        before = key.read_bytes()
        self.assertIn("is there, and its certificate", self.sh("make_owner", key, self.folder / "another.pem"))
        self.assertEqual(key.read_bytes(), before)
        self.assertIn("cannot be read", self.sh("check_owner_ca", self.folder / "none.pem"))
        self.assertIn("holds a private key", self.sh("check_owner_ca", key))
        both = self.folder / "both.pem"
        both.write_text(certificate.read_text() + key.read_text())
        self.assertIn("holds a private key", self.sh("check_owner_ca", both))
        both.write_text("-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n")
        self.assertIn("is no certificate", self.sh("check_owner_ca", both))
        der = subprocess.run(["openssl", "x509", "-in", certificate, "-outform", "DER"], capture_output=True, check=True).stdout
        both.write_bytes(der)
        self.assertIn("is no certificate", self.sh("check_owner_ca", both), "the box reads PEM")


class FolderTest(unittest.TestCase):
    """firmware/test empties its own folder, and no other. It comes as far as a dkimctl that does nothing."""

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="hallmark-folder-")))
        for path, text in (("bin/dpkg-query", "echo installed"), ("bin/apt-get", "exit 1"), ("bin/dkimctl", "exit 1"), ("bin/tokend", "exit 1"),
                           ("image/hallmark_1.raw", "")):
            (self.folder / path).parent.mkdir(exist_ok=True)
            (self.folder / path).write_text(f"#!/bin/sh\n{text}\n")
            (self.folder / path).chmod(0o755)
        self.dir = self.folder / "machine"

    def run_in_dir(self, scenario="first-boot"):
        """Why it ended."""
        done = subprocess.run([ROOT / "firmware/test", "--only", scenario, "--direct", "--dir", self.dir, "--image", self.folder / "image",
                               "--programs", self.folder / "bin"], capture_output=True, text=True, timeout=60, check=False,
                              env={**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"})
        self.assertEqual(done.returncode, 1, done)
        return done.stderr.splitlines()[-1]

    def test_somebody_elses_folder(self):
        (self.dir / "pushed").mkdir(parents=True)
        (self.dir / "pushed/letter").write_text("dear")
        for scenario in ("first-boot", "pushed"):
            self.assertIn(f"{self.dir} holds files, and not .hallmark-firmware-test", self.run_in_dir(scenario))
            self.assertEqual([path.name for path in self.dir.iterdir()], ["pushed"])
            self.assertEqual((self.dir / "pushed/letter").read_text(), "dear")

    def test_its_own_folder(self):
        for begun in ("new", "empty"):
            with self.subTest(begun):
                self.dir = self.folder / begun
                if begun == "empty":
                    self.dir.mkdir()
                self.assertIn("dkimctl init failed", self.run_in_dir("pushed"))
                (self.dir / "first.console").write_text("of the run before")
                self.assertIn("dkimctl init failed", self.run_in_dir())
                self.assertEqual([path.name for path in self.dir.iterdir()], [".hallmark-firmware-test"])


class InstallTest(unittest.TestCase):
    """install_packages starts no servers, neither now nor with the machine, takes nothing away, and leaves no trace of that: what a caller
    traps is the caller's."""

    # What apt-get installs: systemd, a server with a unit and one with a script alone.
    INSTALL = "for unit in server.service server.timer getty@.service; do link $unit; done; ln -s /dev/null etc/systemd/system/masked.service; " \
              ">etc/rc2.d/S01old-server; >etc/rc3.d/S01old-server"

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="hallmark-install-")))
        for name in ("bin", "etc/systemd/system/multi-user.target.wants", "etc/rc2.d", "etc/rc3.d", "lib", "tools"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "lib/systemd").write_text("/lib/systemd/system/getty@.service\n")
        (self.folder / "etc/rc2.d/S01there").touch()
        self.wants = self.folder / "etc/systemd/system/multi-user.target.wants"
        (self.wants / "there.service").symlink_to("/lib/systemd/system/there.service")
        self.program("dpkg-query", f'case $1 in -L) cat {self.folder}/lib/$2 ;; *) exit 1 ;; esac')
        self.program("update-rc.d", f'echo "update-rc.d $*" >>{self.folder}/calls; rm {self.folder}/etc/rc[23].d/S01$1')

    def program(self, name, text):
        (self.folder / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.folder / "bin" / name).chmod(0o755)

    def install(self, apt, commands):
        """What is said, and whether the policy was there while apt-get ran, and is there in the end."""
        self.program("apt-get", f'cd {self.folder}; [ -x policy-rc.d ] && touch there; echo "apt-get $*" >>calls\n'
                                f'link() {{ ln -s /lib/systemd/system/$1 {self.wants}/; }}\n{apt}')
        (self.folder / "tools/packages").write_text("run nothing\n")
        text = (ROOT / "tools/common.sh").read_text()
        for real, here in (("((EUID == 0))", "true"), ("/usr/sbin/policy-rc.d", f"{self.folder}/policy-rc.d"),
                           ("/etc/systemd", f"{self.folder}/etc/systemd"), ("/etc/rc[", f"{self.folder}/etc/rc[")):
            self.assertIn(real, text)
            text = text.replace(real, here)
        (self.folder / "tools/common.sh").write_text(text)
        done = subprocess.run(["bash", "-c", f"set -euo pipefail; source {self.folder}/tools/common.sh; {commands}", "check"], capture_output=True,
                              text=True, timeout=60, check=False, env={**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"})
        self.said = done.stderr
        return done.stdout.splitlines()[1:], done.returncode, (self.folder / "there").exists(), (self.folder / "policy-rc.d").exists()

    def calls(self):
        return (self.folder / "calls").read_text().splitlines()

    def test_a_later_trap(self):
        self.assertEqual(self.install("exit 0", "install_packages run; trap 'echo over' EXIT"), (["over"], 0, True, False))

    def test_an_earlier_trap(self):
        self.assertEqual(self.install("exit 0", "trap 'echo over' EXIT; install_packages run; echo on"), (["on", "over"], 0, True, False))

    def test_apt_fails(self):
        self.assertEqual(self.install("exit 100", "trap 'echo over' EXIT; install_packages run; echo on"), (["over"], 1, True, False))

    def test_nothing_is_removed_for_it(self):
        install = "case $* in *' -s '*) echo 'Remv exim4-base [4.96]'; echo 'Remv exim4 [4.96]'; echo 'Inst postfix' ;; *' install '*) exit 100 ;; esac"
        self.assertEqual(self.install(install, "install_packages run"), ([], 1, True, False))
        self.assertIn(" --no-remove ", next(call for call in self.calls() if " install " in call))
        self.assertIn("exim4-base exim4 would be removed; run this in a container", self.said)

    def check_servers(self):
        """Those that came are disabled; what started with the machine before still does, as do timers, and systemd's own."""
        self.assertEqual({path.name for path in self.wants.iterdir()}, {"there.service", "server.timer", "getty@.service"})
        self.assertTrue((self.wants.parent / "masked.service").is_symlink())
        self.assertEqual([call for call in self.calls() if "update-rc.d" in call], ["update-rc.d old-server disable"])
        self.assertFalse((self.folder / "build/servers-before").exists())

    def install_servers(self, then="true"):
        return self.install(f"case $* in *' -s '*) ;; *' install '*) {self.INSTALL}; {then} ;; esac", "install_packages run")

    def test_servers_that_come_are_disabled(self):
        self.assertEqual(self.install_servers(), (["disabled: old-server server.service"], 0, True, False))
        self.check_servers()

    def test_servers_that_come_before_it_fails_are_disabled(self):
        self.assertEqual(self.install_servers("exit 100"), (["disabled: old-server server.service"], 1, True, False))
        self.check_servers()

    def test_servers_that_came_before_it_was_killed_are_disabled_by_the_next_run(self):
        self.assertEqual(self.install_servers("kill -9 $PPID")[1], 1)
        self.assertTrue((self.wants / "server.service").is_symlink())
        self.install("exit 0", "install_packages nothing")  # all is there by now
        self.check_servers()
        self.assertFalse((self.folder / "policy-rc.d").exists(), "that of the run that was killed")

    def test_servers_that_are_configured_by_the_next_run_are_disabled(self):
        self.assertEqual(self.install("case $* in *' install '*) exit 100 ;; esac", "install_packages run")[1], 1)
        self.install_servers()
        self.check_servers()

    def test_a_unit_of_the_same_name_that_was_enabled_stays(self):
        (self.wants / "server.service").symlink_to(f"{self.wants.parent}/server.service")
        self.install("exit 0", "install_packages run")
        self.assertTrue((self.wants / "server.service").is_symlink())

    def test_a_policy_that_lets_servers_start_is_refused(self):
        (self.folder / "policy-rc.d").write_text("#!/bin/sh\nexit 0\n")
        (self.folder / "policy-rc.d").chmod(0o755)
        self.assertEqual(self.install("exit 0", "install_packages run"), ([], 1, False, True))
        self.assertIn("policy-rc.d lets servers start", self.said)


class CommandLineTest(unittest.TestCase):
    def test_it_is_the_image_alone_that_says_what_process_1_does(self):
        [line] = call("pack.sh", "command_line", "0" * 64, "serial")
        words = line.split(" ")
        self.assertEqual(words[0], "roothash=" + "0" * 64)
        self.assertIn("systemd.import_credentials=no", words, "none that the machine's SMBIOS or fw_cfg brings")
        self.assertIn("fsck.repair=yes", words, "nobody is there whom fsck could ask")
        self.assertIn("gpt", words, "the second partition table counts where a power cut spoilt the first")
        self.assertEqual(words[-2:], ["console=tty0", "console=ttyS0,115200"])


class RootTest(unittest.TestCase):
    """Which partitions the initrd takes, where several disks have the image. A sysfs and a blkid are made here."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="hallmark-root-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.sysfs, self.found = self.folder / "sys", {"data": [], "tree": []}
        (self.sysfs / "class/block").mkdir(parents=True)
        # What a disk that comes late brings to files that are there: find_root looks, and calls load_drivers before it looks again.
        self.late = self.folder / "late"
        self.late.write_text("")
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
                            for name in ("disk_of", "pairs", "find_root", "own_partitions", "open_root"))
        return subprocess.run(["sh", "-euc", f"data_uuid=data tree_uuid=tree hash=0\n{functions}{commands}", "sh", *words], timeout=60, check=True,
                              capture_output=True, text=True, env={**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}"}).stdout.splitlines()

    def pairs(self):
        return self.sh('pairs "$1"', self.sysfs)

    def roots(self, late=None, after=0):
        """What find_root finds, and how often it looked before; the devices of the disk `late` are seen from the look `after` on."""
        if late:
            for what, devices in self.found.items():
                mine = [device for device in devices if device.startswith(f"/dev/{late}")]
                self.found[what] = [device for device in devices if device not in mine]
                self.late.write_text(self.late.read_text() + "".join(f"echo {device} >>{self.folder}/{what}\n" for device in mine))
        looks = self.sh('load_drivers() { looks=$((looks + 1)); [ $looks != "$after" ] || . "$late"; }\nsleep() { :; }\n'
                        'stop() { echo "$1"; exit; }\nlooks=0 after=$2 late=$3\nfind_root "$1"; echo "$looks"; echo "$found"',
                        self.sysfs, str(after), self.late)
        return (int(looks[0]), looks[1:]) if looks[0].isdigit() else looks

    def test_a_state_is_taken_at_once(self):
        self.image("sda")
        self.partition("sda", 6, "hallmark-state")
        self.assertEqual(self.roots(), (0, ["/dev/sda2 /dev/sda3"]))

    def test_the_box_itself_comes_late(self):
        self.image("sda")
        self.image("nvme0n1")
        self.partition("nvme0n1", 6, "hallmark-state")
        self.assertEqual(self.roots("nvme0n1", after=15), (15, ["/dev/nvme0n12 /dev/nvme0n13", "/dev/sda2 /dev/sda3"]))

    def test_a_new_box_is_waited_for_and_then_waits_a_while(self):
        self.image("sda")
        self.assertEqual(self.roots("sda", after=30), (50, ["/dev/sda2 /dev/sda3"]))

    def test_no_root(self):
        self.assertEqual(self.roots(), ["no partition holds the root that this kernel was made for (0)"])

    def test_one_disk(self):
        self.assertEqual(self.pairs(), [])
        self.image("sda")
        self.assertEqual(self.pairs(), ["2 /dev/sda2 /dev/sda3"])

    def test_a_copy(self):
        self.image("sda")
        self.image("nvme0n1")
        self.assertEqual(self.pairs(), ["2 /dev/sda2 /dev/sda3", "2 /dev/nvme0n12 /dev/nvme0n13"])
        self.partition("nvme0n1", 6, "hallmark-state")
        self.assertEqual(self.pairs(), ["1 /dev/nvme0n12 /dev/nvme0n13", "2 /dev/sda2 /dev/sda3"], "the box first")

    def test_half_a_copy(self):
        self.partition("sda", 2, "hallmark-root-a", "data")
        self.assertEqual(self.pairs(), [])
        self.image("sdb")
        self.assertEqual(self.pairs(), ["2 /dev/sdb2 /dev/sdb3"])

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
