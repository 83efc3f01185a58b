"""What else is printed while a command works is no part of its answer."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, subprocess, sys
from airflow_provider_mlpipe.cli.answer import answering, kept_apart

opened_before = sys.stdout
try:
    with kept_apart():
        os.write(1, b"a library in C\\n")
        print("a DAG file")
        with answering():
            print("the first answer")
        print("a log handler", file=opened_before)
        subprocess.run(["echo", "another process"], check=True)
        with answering():
            print("the second answer")
        raise ZeroDivisionError
except ZeroDivisionError:
    print("afterwards")
"""


def test_standard_output_has_the_answer_alone() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert ran.stdout == "the first answer\nthe second answer\nafterwards\n"
    assert sorted(ran.stderr.splitlines()) == ["a DAG file", "a library in C", "a log handler", "another process"]
