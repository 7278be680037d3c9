"""How the tests start their kernels: by forking, and again where one does not come to life.

A kernel's first seconds go into importing PyTorch, its compiler (at an optimiser's first step) and
Matplotlib. Tests start many. Here a process that has imported them, multiprocessing's fork server,
makes each kernel of a copy of itself. A chapter still imports what it uses.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from typing import Any
from unittest.mock import patch

from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

IMPORTED = ["__main__", "ipykernel.kernelapp", "ipywidgets", "matplotlib.pyplot"]
IMPORTED += ["torch._dynamo", "torchmetrics", "torchvision"]
INLINE = "module://matplotlib_inline.backend_inline"  # asked for when Matplotlib is imported
STARTS = 4  # of a kernel: a port that was free when it was chosen may be taken when it is wanted
FOR_NBVAL = "from kernels import for_nbval\n\nfor_nbval()\n"  # a conftest.py beside the notebooks


def run_kernel(arguments: list[str], cwd: str, env: dict[str, str]) -> None:
    """Be a kernel; the process was just forked."""
    from ipykernel.kernelapp import IPKernelApp

    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    guard = f"--IPKernelApp.parent_handle={os.getppid()}"  # it ends with the fork server
    IPKernelApp.launch_instance([*arguments, guard])


class ForkedProcess:
    """A process of `multiprocessing` with the methods of `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, target: Callable[..., None], *args: object) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(IMPORTED)
        self._process = context.Process(target=target, args=args, daemon=True)
        with patch.dict(os.environ, MPLBACKEND=INLINE):  # the server's, which starts with the first
            self._process.start()
        self.kill, self.terminate = self._process.kill, self._process.terminate

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        self._process.join(timeout)
        return self.poll()

    def send_signal(self, number: int) -> None:
        if self.pid and self.poll() is None:
            os.kill(self.pid, number)


class ForkingProvisioner(LocalProvisioner):
    """Jupyter's own, but for how the process begins."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> dict[str, Any]:
        arguments = cmd[cmd.index("ipykernel_launcher") + 1 :]
        cwd = kwargs.get("cwd") or os.getcwd()
        self.process = ForkedProcess(run_kernel, arguments, cwd, kwargs["env"])
        self.pid = self.process.pid
        return self.connection_info


def fork_kernels() -> None:
    """From now on this process, and those forked from it, start kernels by forking. Only on Linux:
    elsewhere what PyTorch stands on may not survive it.
    """
    if sys.platform != "linux":
        return
    name, group = "local-provisioner", KernelProvisionerFactory.GROUP_NAME
    entry = EntryPoint(name, f"{__name__}:{ForkingProvisioner.__name__}", group)
    KernelProvisionerFactory.instance().provisioners[name] = entry


def for_nbval() -> None:
    """Forked kernels, and again where one does not come to life."""
    import nbval.kernel

    start = nbval.kernel.start_new_kernel

    def start_again(*args: Any, **kwargs: Any) -> Any:
        for _ in range(STARTS - 1):
            try:
                return start(*args, **kwargs)
            except RuntimeError:  # its port was taken
                pass
        return start(*args, **kwargs)

    nbval.kernel.start_new_kernel = start_again
    fork_kernels()
