"""dkimctl against a running daemon: every command, its JSON, and its exit status."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import unittest

import deployment
import messages

QUICKSTART = pathlib.Path(__file__).resolve().parents[2] / "tools" / "quickstart"
DONE, FAILED, USAGE, UNREACHABLE, UNVERIFIED = range(5)


class CommandsTest(unittest.TestCase):
    """One deployment; the tests use domains of their own, so their order does not matter."""

    @classmethod
    def setUpClass(cls):
        cls.hallmark = deployment.Deployment()
        cls.addClassCleanup(cls.hallmark.close)
        cls.ctl = cls.hallmark.dkimctl
        cls.json = cls.hallmark.dkimctl_json

    def message(self, name, domain, octets=messages.MESSAGE):
        path = self.hallmark.folder / name
        path.write_bytes(octets.replace(b"example.com", domain.encode()))
        return path

    def domain_with_keys(self, domain):
        self.ctl("domain", "add", domain)
        for algorithm in ("rsa2048", "ed25519"):
            self.ctl("key", "generate", domain, "--algorithm", algorithm, "--activate")
        keys = self.hallmark.folder / f"{domain}.keys"
        keys.write_text(self.ctl("dns", "show", domain, "--format", "keyfile").stdout)
        return keys

    def test_domains(self):
        added = self.json("domain", "add", "one.example")
        self.assertEqual((added["name"], added["profile"]), ("one.example", "default"))
        self.assertIn("one.example", [domain["name"] for domain in self.json("domain", "list")["domains"]])
        shown = self.json("domain", "show", "ONE.example")
        self.assertEqual((shown["domain"]["name"], shown["keys"]), ("one.example", []))
        self.assertIn("one.example", self.ctl("domain", "list").stdout)
        self.ctl("domain", "add", "one.example", status=FAILED)
        self.ctl("domain", "show", "none.example", status=FAILED)
        self.ctl("domain", "add", "not a domain", status=FAILED)
        self.ctl("domain", "add", "two.example", "--dry-run")
        self.ctl("domain", "show", "two.example", status=FAILED)

    def test_domain_in_unicode(self):
        self.assertEqual(self.json("domain", "add", "b\u00fccher.example")["name"], "xn--bcher-kva.example")

    def test_quickstart_goes_on_where_a_run_before_ended(self):
        script = """set -euo pipefail
source <(sed -n "/^signs_with() {/,/^}/p; /^add_keys() {/,/^}/p" "$1")
program=$2 folder=$3 domain=$4
ctl() { "$program" "$@" --dir "$folder"; }
add_keys"""
        self.ctl("domain", "add", "without-keys.example")
        self.ctl("domain", "add", "with-one.example")
        self.ctl("key", "generate", "with-one.example", "--activate")
        self.ctl("key", "generate", "with-one.example", "--algorithm", "ed25519")
        # The session is kept in the set-up, as for dkimctl().
        environment = {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"}
        for domain in ("nothing-yet.example", "without-keys.example", "with-one.example"):
            for _ in range(2):
                subprocess.run(["bash", "-c", script, "bash", QUICKSTART, deployment.BIN / "dkimctl", self.hallmark.folder, domain],
                               stdout=subprocess.DEVNULL, env=environment, timeout=120, check=True)
                active = [key["algorithm"] for key in self.json("key", "list", domain)["keys"] if key["state"] == "KEY_STATE_ACTIVE"]
                self.assertEqual(sorted(active), ["KEY_ALGORITHM_ED25519", "KEY_ALGORITHM_RSA_2048"], domain)

    def test_life_of_a_key(self):
        self.ctl("domain", "add", "life.example")
        for algorithm in ("rsa2048", "rsa3072", "ed25519"):
            with self.subTest(algorithm):
                key = self.json("key", "generate", "life.example", "--algorithm", algorithm)
                self.assertEqual(key["state"], "KEY_STATE_GENERATED")
                selector = key["selector"]
                self.assertEqual(self.json("key", "activate", "life.example", selector, "--unpublished")["state"], "KEY_STATE_ACTIVE")
                self.assertEqual(self.json("key", "show", "life.example", selector)["state"], "KEY_STATE_ACTIVE")
        listed = {key["selector"] for key in self.json("key", "list", "life.example")["keys"]}
        self.assertEqual(len(listed), 3)
        first, second, last = sorted(listed)
        self.assertEqual(self.json("key", "retire", "life.example", first)["state"], "KEY_STATE_RETIRING")
        self.ctl("key", "retire", "life.example", second)
        self.ctl("key", "retire", "life.example", last, status=FAILED, stdin=subprocess.DEVNULL)  # The last one.
        self.assertEqual(self.json("key", "retire", "life.example", last, "--yes")["state"], "KEY_STATE_RETIRING")
        self.ctl("sign", self.message("life.eml", "life.example"), status=FAILED)
        self.assertEqual(self.json("key", "activate", "life.example", first, "--unpublished")["state"], "KEY_STATE_ACTIVE")
        self.ctl("sign", self.message("life.eml", "life.example"))

    def test_keys_that_do_not_work(self):
        self.ctl("domain", "add", "wrong.example")
        self.ctl("key", "generate", "wrong.example", "--algorithm", "rsa1024", status=USAGE)
        self.ctl("key", "generate", "none.example", status=FAILED)
        self.ctl("key", "generate", "wrong.example", "--token", "nowhere", status=FAILED)
        self.ctl("key", "generate", "wrong.example", "--selector", "a;b", status=FAILED)
        self.ctl("key", "show", "wrong.example", "nothing", status=FAILED)
        self.ctl("key", "activate", "wrong.example", "nothing", status=FAILED)

    def test_dns_records(self):
        self.domain_with_keys("dns.example")
        records = self.json("dns", "show", "dns.example")["records"]
        self.assertEqual(len(records), 2)
        for record in records:
            self.assertRegex(record["name"], r"^[a-z0-9-]+\._domainkey\.dns\.example$")
            self.assertRegex(record["value"], r"^v=DKIM1; k=(rsa|ed25519); p=[A-Za-z0-9+/=]+$")
        lines = [line for line in self.ctl("dns", "show", "dns.example").stdout.splitlines() if line and line[0] != ";"]
        self.assertEqual(len(lines), 2)
        for line in lines:
            strings = line.split('"')[1::2]
            self.assertTrue(all(len(text) <= 255 for text in strings))
            self.assertIn("".join(strings), [record["value"] for record in records])

    def test_sign_and_verify(self):
        keys = self.domain_with_keys("sign.example")
        message = self.message("sign.eml", "sign.example")
        signed = self.hallmark.folder / "signed.eml"
        with open(signed, "wb") as output:
            subprocess.run([deployment.BIN / "dkimctl", "--dir", self.hallmark.folder, "sign", message], stdout=output, check=True)
        self.assertEqual(signed.read_bytes().count(b"DKIM-Signature:"), 2)
        self.assertTrue(signed.read_bytes().endswith(messages.MESSAGE.replace(b"example.com", b"sign.example")))
        self.ctl("verify", signed, "--key-file", keys)
        verdicts = self.json("verify", signed, "--key-file", keys)["files"][0]["signatures"]
        self.assertEqual(sorted((verdict["algorithm"], verdict["verdict"]) for verdict in verdicts),
                         [("ed25519-sha256", "pass"), ("rsa-sha256", "pass")])
        signed.write_bytes(signed.read_bytes().replace(b"At noon", b"At nine"))
        self.ctl("verify", signed, "--key-file", keys, status=UNVERIFIED)
        self.ctl("verify", message, "--key-file", keys, status=UNVERIFIED)
        self.ctl("verify", signed, "--key-file", self.hallmark.folder / "none", status=FAILED)

    def test_sign_many_into_a_folder(self):
        keys = self.domain_with_keys("many.example")
        files = [self.message(f"many-{number}.eml", "many.example") for number in range(40)]
        out = self.hallmark.folder / "out"
        out.mkdir()
        self.ctl("sign", *files, "--out", out)
        self.assertEqual(sorted(path.name for path in out.iterdir()), sorted(path.name for path in files))
        self.ctl("verify", *out.iterdir(), "--key-file", keys)

    def test_sign_what_cannot_be_signed(self):
        self.domain_with_keys("cannot.example")
        good = self.message("good.eml", "cannot.example")
        bad = self.message("bad.eml", "cannot.example", b"To: nobody\r\n\r\nx\r\n")
        out = self.hallmark.folder / "out-bad"
        out.mkdir()
        run = self.ctl("sign", good, bad, "--out", out, status=FAILED)
        self.assertIn("bad.eml", run.stderr)
        self.assertIn("FROM_MISSING", run.stderr)
        self.assertTrue((out / "good.eml").is_file())
        self.ctl("sign", self.hallmark.folder / "nothing.eml", status=FAILED)

    def test_status(self):
        status = self.json("status")
        self.assertEqual(status["tokens"][0]["state"], "TOKEN_STATE_READY")
        self.assertEqual([relay["name"] for relay in status["relays"]], ["relay1"])
        self.assertIn("ready", self.ctl("status").stdout.lower())
        certificates = self.json("certificate", "list")
        self.assertTrue(any(entry["name"].startswith("signing server ") for entry in status["certificates"]))
        self.assertEqual(status["certificates"], certificates["certificates"])
        self.assertEqual(status["certificate_files"], certificates["files"])

    def test_profiles(self):
        self.ctl("domain", "add", "profile.example")
        self.ctl("profile", "set", "strict", "--header-canonicalization", "simple", "--line-endings", "refuse")
        shown = self.json("profile", "show", "strict")
        self.assertEqual(shown["header_canonicalization"], "simple")
        self.assertIn("strict", [profile["name"] for profile in self.json("profile", "list")["profiles"]])
        self.ctl("domain", "set-profile", "profile.example", "strict")
        self.assertEqual(self.json("domain", "show", "profile.example")["domain"]["profile"], "strict")
        self.ctl("domain", "set-profile", "profile.example", "none", status=FAILED)
        for more in ((), ("--dry-run",)):
            self.assertIn("cannot be changed", self.ctl("profile", "set", "default", "--no-timestamp", *more, status=FAILED).stderr)


class UsageTest(unittest.TestCase):
    """What needs no daemon."""

    def run_ctl(self, *arguments, **environment):
        return subprocess.run([str(word) for word in (deployment.BIN / "dkimctl", *arguments)], capture_output=True, text=True,
                              timeout=60, check=False, stdin=subprocess.DEVNULL, env={**os.environ, **environment})

    def test_help_has_examples(self):
        commands = (("init",), ("domain", "add"), ("domain", "list"), ("domain", "show"), ("key", "generate"), ("key", "list"),
                    ("key", "show"), ("key", "activate"), ("key", "retire"), ("dns", "show"), ("sign",), ("verify",), ("status",))
        for command in ((), *commands):
            with self.subTest(command):
                run = self.run_ctl(*command, "--help")
                self.assertEqual(run.returncode, DONE)
                self.assertRegex(run.stdout, r"(?s)Examples?:.*dkimctl " + " ".join(command))

    def test_wrong_usage(self):
        for arguments in ((), ("nothing",), ("domain",), ("domain", "add"), ("key", "generate", "--nonsense"), ("verify",),
                          ("status", "--output", "xml"), ("sign", "--out")):
            with self.subTest(arguments):
                run = self.run_ctl(*arguments)
                self.assertEqual(run.returncode, USAGE, run.stderr)
                self.assertEqual(len(run.stderr.strip().splitlines()), 1, run.stderr)

    def test_quickstart_fails_where_dkimpy_does_not_verify(self):
        script = '''set -euo pipefail
source "${1%/*}/common.sh"
source <(sed -n "/^independent() {/,/^}/p" "$1")
here=$2 root=$2
independent'''
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        adapter = folder / "tests/verifiers/dkimpy_adapter.py"
        adapter.parent.mkdir(parents=True)
        for results, status in ((("pass", "pass"), 0), (("pass", "fail"), 1), (("unsupported", "pass"), 1), ((), 1)):
            lines = [json.dumps({"algorithm": "rsa-sha256", "result": result, "detail": "pass"}) for result in results]
            adapter.write_text(f"print({chr(10).join(lines)!r})\n")
            run = subprocess.run(["bash", "-c", script, "bash", QUICKSTART, folder], capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(run.returncode, status, run.stdout + run.stderr)
            self.assertEqual(run.stdout.split(), [word for result in results for word in ("dkimpy:", "rsa-sha256:", result)])

    def quickstart(self, folder, what):
        """start or stop of tools/quickstart, for a daemon in `folder`; what it wrote."""
        script = """set -euo pipefail
source "${1%/*}/common.sh"
source <(sed -n "/^running() {/,/^}/p; /^stop() {/,/^}/p; /^start() {/,/^}/p" "$1")
here=$2 bin=$2 pid_file=$2/signerd.pid log=$2/signerd.log
$3"""
        return subprocess.run(["bash", "-c", script, "bash", QUICKSTART, folder, what], capture_output=True, text=True, timeout=60,
                              check=True).stdout

    def test_quickstart_starts_what_was_built_anew(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "ready").write_text("ready: signing on 127.0.0.1:1\n")
        (folder / "tokend").touch()
        (folder / "signerd").write_text('#!/bin/bash\nexec -a "$0" tail -f "${0%/*}/ready"\n')
        (folder / "signerd").chmod(0o755)
        self.addCleanup(self.quickstart, folder, "stop")
        self.assertEqual(self.quickstart(folder, "start"), "ready: signing on 127.0.0.1:1\n")
        first = (folder / "signerd.pid").read_text().strip()
        self.assertEqual(self.quickstart(folder, "start"), f"signerd runs already (pid {first})\n")
        os.utime(folder / "tokend")
        self.assertIn("ready: signing on", self.quickstart(folder, "start"))
        second = (folder / "signerd.pid").read_text().strip()
        self.assertNotEqual(second, first)
        self.assertEqual(self.quickstart(folder, "start"), f"signerd runs already (pid {second})\n")

    def test_quickstart_stops_a_daemon_that_nobody_waits_for(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        daemon = subprocess.Popen([folder / "signerd", "600"], executable="/bin/sleep")
        self.addCleanup(daemon.wait)
        self.addCleanup(daemon.kill)
        (folder / "signerd.pid").write_text(f"{daemon.pid}\n")
        self.quickstart(folder, "stop")
        self.assertEqual(daemon.wait(), -signal.SIGTERM)

    def test_folder_that_is_none(self):
        run = self.run_ctl("--dir", "/nonexistent", "status")
        self.assertEqual(run.returncode, FAILED)
        self.assertIn("/nonexistent", run.stderr)

    def test_daemon_that_does_not_run(self):
        with deployment.Deployment() as hallmark:
            hallmark.dkimctl("status")
            hallmark.stop()
            for command in (("status",), ("domain", "list"), ("sign", hallmark.config)):
                with self.subTest(command):
                    self.assertTrue(hallmark.dkimctl(*command, status=UNREACHABLE).stderr)

    def test_environment_names_the_folder(self):
        with deployment.Deployment() as hallmark:
            run = self.run_ctl("status", "--output", "json", HALLMARK_DIR=str(hallmark.folder))
            self.assertEqual(run.returncode, DONE, run.stderr)
            json.loads(run.stdout)

    def test_init_does_not_overwrite(self):
        with deployment.Deployment(start=False) as hallmark:
            before = {path: path.read_bytes() for path in pathlib.Path(hallmark.folder).rglob("*") if path.is_file()}
            hallmark.dkimctl("init", status=FAILED)
            after = {path: path.read_bytes() for path in pathlib.Path(hallmark.folder).rglob("*") if path.is_file()}
            self.assertEqual(before, after)


if __name__ == "__main__":
    unittest.main()
