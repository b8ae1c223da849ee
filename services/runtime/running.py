"""From package names to a running process; what `python -m services` does once grpc may be imported."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Sequence

from pydantic import ValidationError

from interceptors.contract import ContractError
from interceptors.faults import Fault
from interceptors.road import MissingPort
from services.runtime.hosting import ListenError, Service
from services.runtime.keyring import KeyFileError
from services.runtime.lifecycle import Host
from services.runtime.logs import log_to
from services.runtime.settings import ProcessSettings
from services.runtime.tuning import Tuning

_LOG = logging.getLogger(__name__)


def run(packages: Sequence[str], process: ProcessSettings, tuning: Tuning | None) -> int:
    """Build and run the domains of `packages` until a signal. Returns the exit status.

    What an operator can mend (a setting, a taken port, a missing key) is explained in one line, without a traceback.
    """
    log_to(level=process.log_level)
    try:
        return asyncio.run(_run(packages, tuning))
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            field = ".".join(str(part) for part in problem["loc"]) or "settings"
            _LOG.error(
                "cannot start: POLYPHONY_%s_%s: %s", error.title.upper(), field.upper(), problem["msg"]
            )
    except (ListenError, KeyFileError, ContractError, MissingPort, Fault, OSError, ValueError) as error:
        _LOG.error("cannot start: %s", error)
    except Exception as error:
        _LOG.error("cannot start: a defect", exc_info=error)
    return 1


async def _run(packages: Sequence[str], tuning: Tuning | None) -> int:
    return await Host([build(package) for package in packages], tuning=tuning).run()


def build(package: str) -> Service:
    """The service of a domain package, with the settings of its environment. Needs a running event loop."""
    settings = importlib.import_module(f"{package}.settings").Settings()
    service: Service = importlib.import_module(f"{package}.wiring").build(settings)
    return service
