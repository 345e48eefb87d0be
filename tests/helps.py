"""What `python -m MODULE --help` says of several modules, each in a process of its own that finds torch imported already.

`python -m tests.helps MODULE ...` prints {module: [exit status, output, errors]} as JSON. A fork of a process that has imported
torch, which takes seconds, and nothing of the project's is as fresh as a new process for all that is asked here.
"""

import json
import os
import runpy
import sys
import tempfile
import traceback

import torch  # noqa: F401 (for the forks)


def help_of(module: str) -> tuple[int, str, str]:
    """(exit status, standard output, standard error)."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        if (child := os.fork()) == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(errors.fileno(), 2)
            os._exit(shown(module))
        _, status = os.waitpid(child, 0)
        out.seek(0)
        errors.seek(0)
        return os.waitstatus_to_exitcode(status), out.read().decode(), errors.read().decode()


def shown(module: str) -> int:
    """The exit status of `python -m module --help`, run in this process."""
    sys.argv[:] = [module, "--help"]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    print(json.dumps({name: help_of(name) for name in sys.argv[1:]}))
