"""What somebody does about keys while the fault lasts, what they are told, and what is in the token afterwards."""

import os
import re
import subprocess

import deployment
from hallmark.admin.v1 import admin_pb2
from waiting import wait_for

DOMAIN = "keys.example"  # no relay signs for it
BITS = 2048


class Acts:
    """Of one box. `rotated`: the domain whose keys are replaced."""

    def __init__(self, hallmark, rotated):
        self._hallmark, self._rotated = hallmark, rotated
        hallmark.admin().CreateDomain(admin_pb2.CreateDomainRequest(name=DOMAIN))
        # It has a pair of its own, which must not come between.
        wait_for((hallmark.folder / "state/ledger/verifier-key").exists, "the ledger has its key")

    def begin(self, scenario):
        self._before = self._objects()
        if scenario.does == "import":
            subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{BITS}", "-out", self._file(scenario)],
                           check=True, capture_output=True)

    def during(self, scenario):
        """Does it, and waits until it is done or refused. Gives sentences about what should not have been said."""
        said = self._do(scenario)
        if scenario.told:
            return [] if said is not None and scenario.told in said else [f"to {scenario.does} a key was to be refused with {scenario.told}: {said}"]
        return [] if said is None else [f"to {scenario.does} a key was refused: {said}"]

    def afterwards(self, scenario):
        """The fault is over. What was refused is done now, under the same name; of all tries no more is in the token than a pair."""
        problems = []
        if scenario.told and (said := self._do(scenario)) is not None:
            problems.append(f"to {scenario.does} a key is refused after the fault too: {said}")
        made = sorted(set(self._objects()) - set(self._before))
        more = len(self._objects()) - len(self._before)
        expected = 2 * (len(deployment.KEY_ALGORITHMS) if scenario.does == "rotate" else 1)
        if more != expected:
            problems.append(f"the token has {more} more objects, not {expected}: {', '.join(made)}")
        return problems

    def _do(self, scenario):
        """None where it was done, else what was said."""
        if scenario.does == "rotate":
            return self._rotate()
        if scenario.does == "make":
            run = self._hallmark.dkimctl("key", "generate", DOMAIN, "--selector", scenario.name, "--algorithm", f"rsa{BITS}", status=None)
        else:
            run = self._hallmark.dkimctl("import", "pem", self._file(scenario), "--domain", DOMAIN, "--selector", scenario.name, status=None)
        return None if run.returncode == 0 else f"{run.stdout}{run.stderr}"

    def _rotate(self):
        before = self._active()
        run = self._hallmark.dkimctl("key", "rotate", self._rotated, "--compromised", "--now", status=None)
        if run.returncode not in (0, 5):  # 5: a second officer is to agree that the old keys are revoked
            return run.stderr
        wait_for(lambda: len(self._active()) == len(deployment.KEY_ALGORITHMS) and not self._active() & before, "the new keys sign", 120)
        if run.returncode == 5:  # else the next rotation would begin nothing
            number = re.search(r"dkimctl approvals approve (\d+)", run.stderr).group(1)
            self._hallmark.as_officer2()
            self._hallmark.dkimctl("approvals", "approve", number, "--yes", "--as", "officer2")
        return None

    def _active(self):
        keys = self._hallmark.dkimctl_json("key", "status", self._rotated)["keys"]
        return {key["key"]["selector"] for key in keys if key["key"]["state"] == "KEY_STATE_ACTIVE"}

    def _file(self, scenario):
        return self._hallmark.folder / "secrets" / f"{scenario.name}.pem"

    def _objects(self):
        """The labels of all objects in the token, as another program sees them."""
        config = self._hallmark.config.read_text()
        module = re.search(r'FAULTY_PKCS11_MODULE = "([^"]+)"', config).group(1)
        run = subprocess.run(["pkcs11-tool", "--module", module, "--token-label", re.search(r"token=([^;?\"]+)", config).group(1), "--login",
                              "--pin", self._hallmark.pin_file().read_text().strip(), "--list-objects"], check=True, capture_output=True,
                             text=True, env={**os.environ, "SOFTHSM2_CONF": str(self._hallmark.folder / "softhsm/softhsm2.conf")})
        return re.findall(r"label: +(\S+)", run.stdout)
