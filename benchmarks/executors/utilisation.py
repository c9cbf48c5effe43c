"""What the driver says of how busy each GPU's kernels kept it, sampled beside a grid by `nvidia-smi`."""

from __future__ import annotations

import contextlib
import shutil
import statistics
import subprocess
import threading
import time

_COMMAND = (
    "nvidia-smi",
    "--query-gpu=index,utilization.gpu",
    "--format=csv,noheader,nounits",
    "--loop-ms=500",
)


class Utilisation:
    """Samples twice a second inside its block; none where there is no `nvidia-smi`."""

    def __init__(self) -> None:
        #: When, which GPU, per cent of the time in which a kernel ran.
        self.samples: list[tuple[float, int, float]] = []
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Utilisation:
        if shutil.which(_COMMAND[0]) is not None:
            self._process = subprocess.Popen(
                _COMMAND, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
            )
            threading.Thread(target=self._read, daemon=True).start()
        return self

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.take(line, time.time())

    def take(self, line: str, moment: float) -> None:
        """Note a line of `nvidia-smi`; what is none is left out."""
        with contextlib.suppress(ValueError):
            gpu, share = line.split(",")
            self.samples.append((moment, int(gpu), float(share)))

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def means(self, began: float, ended: float) -> dict[str, float]:
        """Return the mean of every GPU between two moments, in per cent, by its number."""
        found: dict[int, list[float]] = {}
        for moment, gpu, share in self.samples:
            if began <= moment <= ended:
                found.setdefault(gpu, []).append(share)
        return {str(gpu): round(statistics.fmean(shares), 1) for gpu, shares in sorted(found.items())}
