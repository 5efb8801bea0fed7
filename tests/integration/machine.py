"""A throwaway machine for tests of packages and units: this one's files, with systemd as process 1.

    with Machine() as machine:
        machine.run("dpkg", "-i", *packages)
        machine.run("systemctl", "start", "hallmark-signerd")

It is made of namespaces (mounts, processes, network, host name, IPC, control groups) and of an overlay in memory, so nothing
that happens in it reaches this machine, and nothing is left when it ends. It has this machine's installed packages, a
loopback interface, and no other. `machine.share` is the folder /srv in it. Needs root, and leave to mount: `why_not()`.
"""

import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import deployment

START_SECONDS = 120

BOOT = r"""
set -e
folder=$1 root=$1/root
mount -t tmpfs tmpfs "$folder/memory"
mkdir "$folder/memory/upper" "$folder/memory/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/memory/upper,workdir=$folder/memory/work" "$root"
cd "$root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
for memory in run tmp dev; do mount -t tmpfs -o mode=755 tmpfs "$memory"; done
chmod 1777 tmp
mount --bind "$folder/share" srv
for device in null zero full random urandom tty; do
  touch "dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
rm -f usr/sbin/policy-rc.d etc/fstab etc/machine-id
touch etc/machine-id
mkdir -p mnt
pivot_root . mnt
umount -l /mnt
mount --make-rshared / # credentials reach their services by that
exec env -i container=test PATH=/usr/sbin:/usr/bin \
  setpriv --bounding-set -sys_module,-sys_time,-sys_boot,-sys_rawio,-syslog,-mknod \
  /lib/systemd/systemd --unit=basic.target --show-status=0 --log-target=journal
"""


def why_not():
    """Why there can be no such machine here; empty where there can."""
    if os.geteuid() != 0:
        return "only root can start a throwaway machine"
    if not pathlib.Path("/lib/systemd/systemd").exists():
        return "systemd is not installed"
    trial = subprocess.run(["unshare", "--mount", "--pid", "--cgroup", "--net", "--fork", "true"], capture_output=True, text=True,
                           check=False)
    return trial.stderr.strip()


def _control_group():
    """The folder of this process's own control group (version 2)."""
    mounts = [line.split() for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]
    mount = next(fields[4] for fields in mounts if fields[fields.index("-") + 1] == "cgroup2")
    own = next(line[3:] for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    return pathlib.Path(mount + own)


class Machine:
    """One machine, from its start to its end."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="hallmark-machine-"))
        self.share = self.folder / "share"
        self.control_group = _control_group() / self.folder.name
        self.process = None
        try:
            for name in ("memory", "root", "share"):
                (self.folder / name).mkdir()
            self.control_group.mkdir()
            with open(self.folder / "log", "wb") as log:
                self.process = subprocess.Popen(
                    ["unshare", "--mount", "--propagation", "private", "--pid", "--cgroup", "--ipc", "--uts", "--net", "--fork",
                     "--kill-child", "/bin/bash", "-c", BOOT, "boot", str(self.folder)],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, preexec_fn=self._enter)
            self._wait()
        except BaseException:
            self.close()
            raise

    def _enter(self):
        deployment.die_with_parent()
        (self.control_group / "cgroup.procs").write_text(str(os.getpid()))

    def _init(self):
        """Process 1, by its number out here; None before it is there."""
        pid = self.process.pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if children else None

    def _wait(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the machine did not start: {(self.folder / 'log').read_text()}")
            init = self._init()
            if init and pathlib.Path(f"/proc/{init}/comm").read_text().strip() == "systemd":
                state = self.run("systemctl", "is-system-running", status=None).stdout.strip()
                if state in ("running", "degraded"):
                    return
            time.sleep(0.1)
        raise AssertionError("the machine did not start in time")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def run(self, *command, status=0, **options):
        """Runs a command in it as root; the exit status must be as given (None: any). Returns the finished process (text)."""
        if "input" not in options:
            options["stdin"] = subprocess.DEVNULL
        words = ["nsenter", "--target", str(self._init()), "--mount", "--pid", "--cgroup", "--ipc", "--uts", "--net", "--root",
                 "--wd", *map(str, command)]
        run = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=180, check=False,
                             env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8",
                                  "DEBIAN_FRONTEND": "noninteractive"}, **options)
        if status is not None and run.returncode != status:
            raise AssertionError(f"{' '.join(map(str, command))} ended with {run.returncode}, not {status}:\n{run.stdout}")
        return run

    def shell(self, script, status=0):
        """Runs lines of a shell in it, up to the first that fails. Returns what they print."""
        return self.run("/bin/bash", "-euo", "pipefail", "-c", script, status=status).stdout

    def close(self):
        if self.process:
            self.process.kill()  # and by that process 1, which takes all others with it
            self.process.wait()
        self._remove_control_groups()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _remove_control_groups(self):
        # Its processes are gone when the last of their groups can be removed.
        deadline = time.monotonic() + 30
        while self.control_group.exists() and time.monotonic() < deadline:
            for group in [*sorted(self.control_group.rglob("*/"), reverse=True), self.control_group]:
                try:
                    group.rmdir()
                except OSError:
                    time.sleep(0.02)
