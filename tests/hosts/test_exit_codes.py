from __future__ import annotations

import pytest

from moe_eval_plugin.errors import DataError, OverrideError
from moe_eval_plugin.hosts import exit_codes


@pytest.mark.parametrize(("error", "code"), [(DataError("no file"), 2), (OverrideError("k"), 3)])
def test_our_errors_end_the_process_with_one_message(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, exit_codes.user_errors():
        raise error
    assert ended.value.code == code
    shown = capsys.readouterr().err
    assert str(error) in shown
    assert "Traceback" not in shown


def test_a_fault_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, exit_codes.user_errors():
        raise KeyError
    assert ended.value.code == 1
    assert "Traceback" in capsys.readouterr().err


def test_who_asked_for_errors_gets_them_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    @exit_codes.user_errors()
    def broken() -> None:
        message = "no image"
        raise DataError(message)

    with pytest.raises(DataError, match="no image"), exit_codes.errors_are_raised():
        broken()
    assert not capsys.readouterr().err
    with pytest.raises(SystemExit):
        broken()
