"""Kernels that the tests fork."""

import os
import sys
from pathlib import Path

import kernels
import pytest
from jupyter_client.manager import start_new_kernel
from jupyter_client.provisioning import KernelProvisionerFactory


@pytest.fixture
def forking(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `fork_kernels` changes, for one test, and with little imported beforehand."""
    provisioners = KernelProvisionerFactory.instance().provisioners
    name = "local-provisioner"
    monkeypatch.setitem(provisioners, name, provisioners[name])
    monkeypatch.setattr(kernels, "IMPORTED", ["ipykernel.kernelapp"])
    kernels.fork_kernels()


@pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux")
@pytest.mark.usefixtures("forking")
def test_a_forked_kernel_lives_where_and_how_it_is_told(tmp_path: Path) -> None:
    told = os.environ | {"COLOUR": "blue"}
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(tmp_path), env=told)
    try:
        said: list[str] = []
        client.execute_interactive(
            "import os; print(os.getcwd(), os.environ['COLOUR'], os.environ['MPLBACKEND'])",
            timeout=60,
            output_hook=lambda m: said.append(m["content"].get("text", "")),
        )
        where, colour, backend = "".join(said).split()
        assert (Path(where), colour) == (tmp_path.resolve(), "blue")
        assert backend.endswith("backend_inline")
        assert isinstance(manager.provisioner.process, kernels.ForkedProcess)
        reply = client.execute_interactive(
            "print('asleep', flush=True)\nimport time; time.sleep(60)",
            timeout=30,
            output_hook=lambda m: manager.interrupt_kernel() if m["msg_type"] == "stream" else None,
        )
        assert reply["content"]["ename"] == "KeyboardInterrupt"
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
    assert not manager.is_alive()
