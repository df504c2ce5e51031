"""Downloads that are checked, retried and explained."""

import os
from collections.abc import Sequence
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

_RETRIES = 2  # after the first attempt, for each mirror; pooch waits 1 s, then 2 s
_TIMEOUT = 30  # seconds without an answer


class _Bar:
    """A rich progress bar with the few methods that pooch calls (``total`` is set by pooch)."""

    def __init__(self, name: str) -> None:
        columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self.progress = Progress(*columns)
        self.task = self.progress.add_task(name, total=None)
        self.total: int | None = None

    def update(self, size: int) -> None:
        self.progress.start()
        self.progress.update(self.task, total=self.total, advance=size)

    def reset(self) -> None:
        self.progress.reset(self.task, total=self.total)

    def close(self) -> None:
        self.progress.stop()


def cache_folder() -> Path:
    """Where downloads are kept: ``CLOSURA_CACHE``, else the user's cache folder."""
    import pooch  # imports requests: slow, and only needed here

    return Path(os.environ.get("CLOSURA_CACHE") or pooch.os_cache("closura"))


def download_file(file: str, checksum: str | None, *, mirrors: Sequence[str], folder: Path, otherwise: str) -> Path:
    """Download one file from the first mirror that has it, unless a copy with the right checksum is there already.

    ``checksum`` is ``"algorithm:hexadecimal"``; without one any copy that is there is taken. ``otherwise`` says in the
    error (ConnectionError) what to do without a network.
    """
    import pooch  # imports requests: slow, and only needed here
    from requests.exceptions import RequestException

    tried = []
    for mirror in mirrors:
        source = pooch.create(
            path=folder,
            base_url=mirror,
            registry={file: checksum},
            retry_if_failed=_RETRIES,
            allow_updates=True,
        )
        bar = _Bar(file)
        try:
            fetched = source.fetch(file, downloader=pooch.HTTPDownloader(progressbar=bar, timeout=_TIMEOUT))
            return Path(fetched)
        except (RequestException, ValueError) as error:  # ValueError: wrong checksum
            tried.append(f"{mirror}{file} ({error})")
        finally:
            bar.close()
    raise ConnectionError(
        f"could not download {file}. Tried: {'; '.join(tried)}. Without a network: copy the file from elsewhere, and "
        f"{otherwise}"
    )
