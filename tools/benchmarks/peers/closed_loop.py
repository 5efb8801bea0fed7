"""A closed loop of signing: each of a number of connections sends its next message as soon as it has the last signature.

Each connection is a process of its own, for Python's threads would wait for each other.
"""

import ctypes
import dataclasses
import multiprocessing
import signal
import time

from errors import PeerError

WARM_UP_SECONDS = 0.5
ANSWER_SECONDS = 60  # how long a connection may take to open, or to end


@dataclasses.dataclass
class Outcome:
    """What came of one loop."""
    seconds: float
    signed: int        # messages that were done within the measured time
    latencies: list    # seconds, in order of length; also of messages that were only under way, so that stalls are not lost
    daemon_cpu: float  # seconds, within the measured time
    driver_cpu: float  # seconds a message, of the connection's process
    signatures: list   # the last DKIM-Signature field of each connection

    def quantile(self, share):
        """The latency that this share of the messages did not exceed."""
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


def _sign_until(connection, prepared, end):
    """Signs until the monotonic clock is at `end`: [(when it was done, how long it took)], and the last signature."""
    done = []
    while (start := time.monotonic()) < end:
        signature = connection.sign(prepared)
        now = time.monotonic()
        done.append((now, now - start))
    return done, signature


def _worker(connect, message, pipe):
    """A connection's process: opens it, says so, is told until when to sign, and reports."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # A Ctrl-C is for the process that started this one.
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    try:
        connection = connect()
        prepared = connection.prepare(message)
        connection.sign(prepared)
        pipe.send(None)
        end = pipe.recv()
        start = time.process_time()
        done, signature = _sign_until(connection, prepared, end)
        pipe.send((done, (time.process_time() - start) / len(done), signature))
        connection.close()
    except (PeerError, OSError) as error:
        pipe.send(PeerError(str(error)))


def _receive(pipe):
    if not pipe.poll(ANSWER_SECONDS):
        raise PeerError("a connection gets no answer; the daemon hangs")
    try:
        said = pipe.recv()
    except EOFError:
        raise PeerError("a connection's process died; see above") from None
    if isinstance(said, PeerError):
        raise said
    return said


def run(daemon, message, connections, seconds):
    """The outcome of having one message signed again and again."""
    fork = multiprocessing.get_context("fork")
    pipes, workers = [], []
    try:
        for _ in range(connections):
            ours, theirs = fork.Pipe()
            workers.append(fork.Process(target=_worker, args=(daemon.connect, message, theirs), daemon=True))
            workers[-1].start()
            theirs.close()  # So that the worker's death ends the pipe.
            pipes.append(ours)
        for pipe in pipes:
            _receive(pipe)
        return _measure(daemon, pipes, seconds)
    finally:
        for pipe in pipes:
            pipe.close()
        for worker in workers:
            worker.join(5)
            worker.kill()


def _measure(daemon, pipes, seconds):
    begin = time.monotonic() + WARM_UP_SECONDS
    for pipe in pipes:
        pipe.send(begin + seconds + WARM_UP_SECONDS)  # Longer than is measured: all connections are busy throughout.
    time.sleep(max(0, begin - time.monotonic()))
    begin, cpu = time.monotonic(), daemon.cpu_seconds()
    time.sleep(seconds)
    end, cpu = time.monotonic(), daemon.cpu_seconds() - cpu
    reports = [_receive(pipe) for pipe in pipes]
    seen = [(when, took) for done, _, _ in reports for when, took in done if begin <= when and when - took < end]
    signed = sum(when < end for when, _ in seen)
    if not signed:
        raise PeerError(f"no message was signed within {seconds} s; measure for longer")
    driver = [each for _, each, _ in reports]
    return Outcome(end - begin, signed, sorted(took for _, took in seen), cpu, sum(driver) / len(driver),
                   [signature for _, _, signature in reports])
