"""Files of klines: the exchanges' public dumps, REST answers, our own CSV, and others like them."""

from candleactors.klines.reader import read_klines

__all__ = ["read_klines"]
