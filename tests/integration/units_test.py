"""The services' confinement, as systemd-analyze counts it: 0 is none of the system, 10 all of it."""

import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import paths

ROOT = paths.TESTS.parent
PACKAGED = ROOT / "tools/packaging"
BOX = (ROOT / "firmware/image/tree/etc/systemd/system", ROOT / "firmware/update/tree/etc/systemd/system")
MOST = 2.0


class Units(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.root.cleanup)
        cls.units = pathlib.Path(cls.root.name) / "etc/systemd/system"
        for folder in BOX:
            shutil.copytree(folder, cls.units, symlinks=True, dirs_exist_ok=True)
        for unit in PACKAGED.glob("*.service"):
            shutil.copy(unit, cls.units)
        # systemd-run makes this one, with a drop-in that is there before: the script try-token.
        (cls.units / "hallmark-try-token.service").write_text("[Service]\nExecStart=/usr/libexec/hallmark/tokend check-token\n")

    def exposure(self, unit):
        run = subprocess.run(["systemd-analyze", "security", "--no-pager", "--offline=true", f"--root={self.root.name}", unit],
                             capture_output=True, text=True, check=False)
        counted = re.search(r"Overall exposure level for \S+: ([0-9.]+)", run.stdout)
        self.assertIsNotNone(counted, run.stdout + run.stderr)
        return float(counted.group(1))

    def test_no_unit_can_do_more_than_it_must(self):
        units = sorted(path.name.removesuffix(".service") for path in self.units.glob("hallmark-*.service"))
        self.assertGreaterEqual(len(units), 14)
        for unit in units:
            with self.subTest(unit):
                instance = f"{unit}sda1" if unit.endswith("@") else unit
                self.assertLessEqual(self.exposure(f"{instance}.service"), MOST)

    def test_a_vendors_module_has_no_disk(self):
        """It is tried as root, whose the disks are: it has the devices that try-token names, and no other."""
        self.assertRegex((self.units / "hallmark-try-token.service.d/module.conf").read_text(), "(?m)^DevicePolicy=closed$")

    def test_what_follows_changes_has_no_limit(self):
        """A start too many would end the path unit too, which then watches no more until the box starts again. What waits for a file to be
        there is another thing: it would be started over and over while the file stays, and the limit is what ends that."""
        changes = [path for path in self.units.glob("*.path") if re.search("(?m)^Path(Changed|Modified)=", path.read_text())]
        self.assertTrue(changes)
        for path in changes:
            self.assertNotRegex(path.read_text(), "(?m)^Unit=")
            unit = path.with_suffix(".service").read_text().split("[Service]")[0]
            self.assertRegex(unit, "(?m)^StartLimitIntervalSec=0$", path.name)

    def test_what_judges_an_update_needs_no_state(self):
        """A version whose /var does not open has to fail this unit, and with it the boot: one that were not started would not."""
        unit = (self.units / "hallmark-boot-check.service").read_text()
        self.assertIn("FailureAction=reboot", unit)
        for wants_var in ("PrivateTmp=", "StateDirectory=", "CacheDirectory=", "LogsDirectory=", "RequiresMountsFor=", "Requires="):
            self.assertNotRegex(unit, f"(?m)^{wants_var}")

    def test_the_milter_is_there_before_its_mta(self):
        """Debian's postfix.service does nothing: what takes mail is postfix@-.service, which starts before it."""
        before = re.findall(r"(?m)^Before=(.*)$", (PACKAGED / "hallmark-milter.service").read_text())
        self.assertLessEqual({"postfix@-.service", "postfix.service", "sendmail.service"}, set(" ".join(before).split()))

    def test_packaged_services_alone(self):
        """On an operator's machine there is nothing of the box beside them."""
        with tempfile.TemporaryDirectory() as alone:
            for unit in sorted(PACKAGED.glob("*.service")):
                with self.subTest(unit.name):
                    run = subprocess.run(["systemd-analyze", "security", "--no-pager", "--offline=true", shutil.copy(unit, alone)],
                                         capture_output=True, text=True, check=False)
                    self.assertLessEqual(float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", run.stdout).group(1)), MOST)


if __name__ == "__main__":
    unittest.main()
