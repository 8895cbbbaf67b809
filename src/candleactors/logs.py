"""Logs: structured events on stderr, for people or as JSON lines, without credentials and of bounded size."""

from __future__ import annotations

import logging
import sys
from typing import Final, TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from candleactors.redaction import MAX_TEXT, MAX_TRACEBACK, loggable
from candleactors.settings import LogSettings

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def set_up(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Send all events of at least the configured level to `stream`, stderr by default. For the process's owner alone.

    The warnings and errors of libraries that use the standard `logging` come along. An embedding program that has its
    own structlog configuration does not call this; `redact_event` is there for its processors.
    """
    target = stream or sys.stderr
    level = _LEVELS[settings.level]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact_event,
            _renderer(settings, target),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=target),
        cache_logger_on_first_use=stream is None,
    )
    root = logging.getLogger()
    root.handlers = [_ToStructlog()]
    # Below warnings, HTTP and WebSocket libraries speak about every request and frame.
    root.setLevel(max(level, logging.WARNING))


def default_logger() -> FilteringBoundLogger:
    """Return structlog's logger where this process configured structlog, else one that writes to standard `logging`.

    An embedding program that configured neither sees warnings and errors on stderr, as from any library.
    """
    if structlog.is_configured():
        configured: FilteringBoundLogger = structlog.get_logger("candleactors")
        return configured
    logger: FilteringBoundLogger = structlog.wrap_logger(
        logging.getLogger("candleactors"),
        processors=[
            structlog.stdlib.filter_by_level,
            redact_event,
            structlog.processors.KeyValueRenderer(key_order=["event"], drop_missing=True),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return logger


def redact_event(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Return the event with every value plain, bounded and without credentials: a structlog processor."""
    return {
        key: loggable(key, value, limit=MAX_TRACEBACK if key == "exception" else MAX_TEXT)
        for key, value in event.items()
    }


def _renderer(settings: LogSettings, target: TextIO) -> Processor:
    if settings.format == "json":
        return structlog.processors.JSONRenderer(ensure_ascii=False)
    return structlog.dev.ConsoleRenderer(
        colors=target.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
    )


class _ToStructlog(logging.Handler):
    """Hands records of the standard library's logging on."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(library=record.name)
        log.log(record.levelno, record.getMessage(), exc_info=record.exc_info)
