"""The log file of a run where the disk is full: the run ends as it would, and tells that the log does not."""

import json
import logging

import pytest

from flatcore.runlog import log_file
from flatcore.settings import RunSettings

FULL = "/dev/full"
log = logging.getLogger("flatcore")


def test_a_full_disk_cuts_the_log_and_no_more(tmp_path, caplog, capsys):
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "PID-1.jsonl").symlink_to(FULL)
    with log_file(tmp_path, "PID-1", RunSettings()):
        log.info("a line")
        log.info("another line")
    assert "PID-1.jsonl: not all was written: [Errno 28]" in caplog.text
    assert capsys.readouterr().err == ""


def test_an_error_of_the_run_is_not_hidden_by_the_log(tmp_path):
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "PID-1.jsonl").symlink_to(FULL)
    with pytest.raises(ValueError, match="of the run"), log_file(tmp_path, "PID-1", RunSettings()):
        log.info("a line")
        raise ValueError("of the run")


def test_lines_of_two_blocks_follow_one_another(tmp_path):
    for text in ("measured", "concluded"):
        with log_file(tmp_path, "PID-1", RunSettings()):
            log.info(text)
    lines = [json.loads(line) for line in (tmp_path / "log" / "PID-1.jsonl").read_text().splitlines()]
    assert [line["message"] for line in lines] == ["measured", "concluded"]
