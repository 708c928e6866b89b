"""Starting a function in several processes, and passing on the first failure."""

import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import traceback
from multiprocessing import connection


class ProcessException(Exception):
    """A process of a group failed."""

    def __init__(self, msg, error_index, pid):
        super().__init__(msg)
        self.msg, self.error_index, self.pid = msg, error_index, pid

    def __reduce__(self):
        return type(self), (self.msg, self.error_index, self.pid)


class ProcessRaisedException(ProcessException):
    """A process ended with an exception, whose traceback is in the message."""


class ProcessExitedException(ProcessException):
    """A process was killed, or ended with an exit code other than zero."""

    def __init__(self, msg, error_index, error_pid, exit_code, signal_name=None):
        super().__init__(msg, error_index, error_pid)
        self.exit_code, self.signal_name = exit_code, signal_name

    def __reduce__(self):
        return type(self), (self.msg, self.error_index, self.pid, self.exit_code, self.signal_name)


def _run(function, index, arguments, report):
    try:
        function(index, *arguments)
    except KeyboardInterrupt:
        pass  # the parent's to report
    except Exception:
        with open(report, "wb") as file:
            pickle.dump(traceback.format_exc(), file)
        sys.exit(1)


class ProcessContext:
    """Running processes of one group."""

    def __init__(self, processes, error_files):
        self.processes, self.error_files = processes, error_files
        self.sentinels = {process.sentinel: index for index, process in enumerate(processes)}

    def pids(self):
        return [process.pid for process in self.processes]

    def join(self, timeout=None, grace_period=None):
        """Wait until a process ends. True when all have ended well; after a failure the others are ended.

        Args:
            timeout: seconds to wait; then False.
            grace_period: seconds that the others get between the requests to end and to be killed.
        """
        if not self.sentinels:
            return True
        failed = None
        for sentinel in connection.wait(self.sentinels, timeout):
            index = self.sentinels.pop(sentinel)
            self.processes[index].join()
            if self.processes[index].exitcode != 0:
                failed = index
                break
        if failed is None:
            return not self.sentinels
        self._end_all(grace_period)
        self._raise(failed)

    def _end_all(self, grace_period):
        for process in self.processes:
            if process.is_alive():
                process.terminate()
        for process in self.processes:
            process.join(30 if grace_period is None else grace_period)
            if process.is_alive():
                process.kill()
                process.join()

    def _raise(self, index):
        process, report = self.processes[index], self.error_files[index]
        if os.path.getsize(report):
            with open(report, "rb") as file:
                original = pickle.load(file)
            message = f"\n\n-- Process {index} terminated with the following error:\n{original}"
            raise ProcessRaisedException(message, index, process.pid)
        code = process.exitcode
        if code < 0:
            name = signal.Signals(-code).name
            raise ProcessExitedException(
                f"process {index} terminated with signal {name}", index, process.pid, code, name
            )
        raise ProcessExitedException(
            f"process {index} terminated with exit code {code}", index, process.pid, code
        )

    def __del__(self):
        for path in self.error_files:
            try:
                os.unlink(path)
            except OSError:
                pass


class SpawnContext(ProcessContext):
    """The processes of spawn()."""


def start_processes(fn, args=(), nprocs=1, join=True, daemon=False, start_method="spawn"):
    """Run fn(index, *args) in nprocs processes.

    Args:
        join: wait for all of them; otherwise the ProcessContext is returned.
        daemon: end the processes when this one ends.
    """
    context = multiprocessing.get_context(start_method)
    processes, reports = [], []
    for index in range(nprocs):
        descriptor, report = tempfile.mkstemp(prefix="rushlight-process-", suffix=".error")
        os.close(descriptor)
        process = context.Process(target=_run, args=(fn, index, args, report), daemon=daemon)
        process.start()
        processes.append(process)
        reports.append(report)
    group = SpawnContext(processes, reports)
    if not join:
        return group
    while not group.join():
        pass


def spawn(fn, args=(), nprocs=1, join=True, daemon=False, start_method="spawn"):
    """start_processes with new interpreters.

    >>> spawn(train, args=(config,), nprocs=2)  # doctest: +SKIP
    """
    return start_processes(fn, args, nprocs, join, daemon, start_method)
