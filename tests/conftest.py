"""Hypothesis profiles, the number of BLAS threads, and interrupts, for all tests."""

import signal

from tests.properties import profiles

profiles.load()
# A background job of a shell script has interrupts ignored; processes started here would inherit
# that, and never hear the ones that tests send.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
