"""What may be changed while it runs: checked, all or nothing, saved whole."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from edge.errors import SettingsInvalid, SinkUnwritable
from edge.runtime import saved
from edge.runtime.control import NOTICE, ChangedMeanwhile, Control
from edge.runtime.pause import KeptPause
from edge.settings import SENSITIVITIES, CueSettings, Settings, with_sensitivity
from edge.sinks.audio import AudioSettings

AUDIBLE = Settings(sinks=("audio",))


def test_a_change_is_in_force_at_once_and_leaves_the_rest() -> None:
    control = Control(Settings(source="demo"))
    before = control.settings
    control.change("look", {"language": "de", "words": False})
    assert (control.settings.look.language, control.settings.look.words) == ("de", False)
    assert control.settings.source == "demo"
    assert before.look.language == "en"


@pytest.mark.parametrize(
    ("table", "values", "words"),
    [
        ("look", {"language": "tlh"}, "valid are en, de, es, fr"),
        ("look", {"words": 1}, "must be of type bool"),
        ("look", {"langage": "de"}, "did you mean 'language'"),
        ("cue", {"hold": -1.0}, "valid are 0.0 to 10.0"),
        ("cue", {"hold": float("nan")}, "valid are 0.0 to 10.0"),
        ("web", {"token": ""}, "cannot be changed while it runs"),
        ("source", {}, "cannot be changed while it runs"),
        ("audio", {"volume": 0.7}, r"'audio' cannot be changed while it runs; valid are cue, look$"),
    ],
)
def test_a_change_that_is_not_valid_changes_nothing(table: str, values: dict[str, object], words: str) -> None:
    control = Control()
    with pytest.raises(SettingsInvalid, match=words):
        control.change(table, {"arrow": True, **values} if table == "look" else values)
    assert control.settings == Settings()


def test_a_sink_that_the_settings_name_can_be_changed_whether_it_opened_or_not() -> None:
    control = Control(Settings(sinks=("terminal", "audio:no such device")))
    control.change("audio", {"volume": 0.7})
    assert control.settings.of(AudioSettings).volume == 0.7


def test_what_was_saved_of_a_sink_that_this_run_is_without_stays_saved(tmp_path: Path) -> None:
    before = Control(AUDIBLE, saved=tmp_path / "saved.toml")
    before.change("audio", {"volume": 0.7})
    before.save()
    without = Control(saved=tmp_path / "saved.toml")
    without.load()
    without.change("look", {"language": "de"})
    without.save()
    again = Control(AUDIBLE, saved=tmp_path / "saved.toml")
    again.load()
    assert (again.settings.of(AudioSettings).volume, again.settings.look.language) == (0.7, "de")


@pytest.mark.parametrize("sensitivity", SENSITIVITIES)
def test_the_sensitivity_moves_its_settings_together(sensitivity: str) -> None:
    control = Control()
    control.change("cue", {"sensitivity": sensitivity})
    assert control.settings.cue == with_sensitivity(CueSettings(), sensitivity)


def test_back_at_normal_everything_is_as_it_was() -> None:
    control = Control()
    for sensitivity in ("calm", "quick", "normal"):
        control.change("cue", {"sensitivity": sensitivity})
    assert control.settings == Settings()


def test_what_is_saved_is_read_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "saved.toml"
    first = Control(saved=path)
    first.load()
    first.change("look", {"language": "fr"})
    assert first.save() == path
    second = Control(saved=path)
    second.load()
    second.change("cue", {"sensitivity": "calm", "hold": 3})
    second.save()
    third = Control(Settings(source="demo"), path)
    third.load()
    assert third.settings.look.language == "fr"
    assert third.settings.cue == CueSettings(**{**SENSITIVITIES["calm"], "sensitivity": "calm", "hold": 3.0})  # type: ignore[arg-type]
    assert third.settings.source == "demo"


def test_a_sensitivity_is_saved_as_such_and_undoes_what_was_set_before_it(tmp_path: Path) -> None:
    path = tmp_path / "saved.toml"
    control = Control(saved=path)
    control.change("cue", {"hold": 3.0, "vanish": 0.4})
    control.change("cue", {"sensitivity": "calm"})
    control.save()
    assert "hold" not in path.read_text()
    again = Control(saved=path)
    again.load()
    assert again.settings == control.settings
    assert again.settings.cue.hold == SENSITIVITIES["calm"]["hold"]
    assert again.settings.cue.vanish == 0.4


def test_a_saved_file_cut_at_any_byte_is_refused_and_the_defaults_are_used(tmp_path: Path) -> None:
    path = tmp_path / "saved.toml"
    control = Control(saved=path)
    control.change("look", {"language": "fr", "words": False})
    control.change("cue", {"sensitivity": "calm", "hold": 3.0})
    control.save()
    content = path.read_bytes()
    for end in range(len(content) - 1):
        path.write_bytes(content[:end])
        cut = Control(saved=path)
        with pytest.raises(SettingsInvalid, match=r"cut short|not TOML"):
            cut.load()
        assert cut.settings == Settings()
    path.write_bytes(content[:-1])  # whole, but for the line's end
    whole = Control(saved=path)
    whole.load()
    assert whole.settings == control.settings


def test_a_saved_file_may_be_changed_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "saved.toml"
    path.write_text('[look]\nlanguage = "de"\n\n# end  \n\n')
    control = Control(saved=path)
    control.load()
    assert control.settings.look.language == "de"


def test_each_problem_is_shown_for_a_while_from_the_first_look_on_and_then_no_more() -> None:
    control = Control()
    assert control.notice(5.0) == ""
    for problem in ("/etc/cuelens/cuelens.toml:3: threads is 99; valid are 1 to 8", "another"):
        control.keep_problem(problem)
    shown = [control.notice(100.0 + NOTICE * n / 2) for n in range(6)]
    assert shown == [*["cuelens.toml:3: threads is 99; valid are 1 to 8"] * 2, *["another"] * 2, "", ""]


def test_without_a_file_or_the_right_to_write_it_saving_is_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="--saved FILE"):
        Control().save()
    with pytest.raises(SinkUnwritable):
        Control(saved=tmp_path / "none" / "saved.toml").save()


# Several who save.


def test_many_who_save_at_once_all_succeed_and_the_newest_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "saved.toml"
    control = Control(AUDIBLE, saved=path)
    failures: list[BaseException] = []
    ready = threading.Barrier(8)

    def save(number: int) -> None:
        try:
            for turn in range(5):
                ready.wait()
                control.change("audio", {"repeat": float(10 * turn + number)})
                control.save()
        except BaseException as error:
            failures.append(error)
            ready.abort()

    threads = [threading.Thread(target=save, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    again = Control(AUDIBLE, saved=path)
    again.load()
    assert again.settings == control.settings
    assert [entry.name for entry in tmp_path.iterdir()] == ["saved.toml"]


def test_what_another_program_saved_meanwhile_stays_and_is_in_force_here(tmp_path: Path) -> None:
    path = tmp_path / "saved.toml"
    here, there = Control(saved=path), Control(AUDIBLE, saved=path)
    here.change("look", {"language": "de"})
    there.change("audio", {"volume": 0.7})
    there.change("cue", {"hold": 2.0})
    here.save()
    there.save()
    here.change("look", {"words": False})
    here.save()
    last = Control(saved=path)
    last.load()
    for control in (here, last):
        settings = control.settings
        assert (settings.look.language, settings.look.words) == ("de", False)
        assert (settings.of(AudioSettings).volume, settings.cue.hold) == (0.7, 2.0)


def test_of_two_who_save_the_same_setting_the_second_learns_of_it_and_may_overrule(tmp_path: Path) -> None:
    path = tmp_path / "saved.toml"
    here, there = Control(saved=path), Control(saved=path)
    here.change("look", {"language": "de"})
    there.change("look", {"language": "fr"})
    here.save()
    with pytest.raises(SettingsInvalid, match=r"saved another value meanwhile: look\.language; save again to overrule"):
        there.save()
    assert 'language = "de"' in path.read_text()
    there.save()
    assert 'language = "fr"' in path.read_text()


def test_a_sensitivity_saved_elsewhere_undoes_here_what_it_moves(tmp_path: Path) -> None:
    path = tmp_path / "saved.toml"
    here, there = Control(saved=path), Control(saved=path)
    here.change("cue", {"hold": 3.0, "vanish": 0.4})
    here.save()
    there.load()
    there.change("cue", {"sensitivity": "calm"})
    there.save()
    here.save()
    last = Control(saved=path)
    last.load()
    assert here.settings == there.settings == last.settings
    assert last.settings.cue.hold == SENSITIVITIES["calm"]["hold"]


def test_a_file_deleted_or_damaged_meanwhile_is_written_again_with_what_is_in_force(tmp_path: Path) -> None:
    path = tmp_path / "saved.toml"
    control = Control(saved=path)
    control.change("look", {"language": "fr"})
    control.save()
    content = path.read_bytes()
    for damage in (path.unlink, lambda: path.write_bytes(content[:-8]), lambda: path.write_text("= no TOML")):
        damage()
        control.save()
        assert path.read_bytes() == content


def test_a_folder_that_another_program_keeps_locked_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    monkeypatch.setattr(saved, "LOCK_TIME", 0.05)
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        control = Control(saved=tmp_path / "saved.toml")
        with pytest.raises(SettingsInvalid, match="keeps the folder locked"):
            control.save()
        fcntl.flock(folder, fcntl.LOCK_UN)
        control.save()
    finally:
        os.close(folder)


def test_who_changes_what_somebody_else_changed_meanwhile_is_warned_and_nothing_is_changed() -> None:
    control = Control()
    control.change("cue", {"hold": 2.0}, {"hold": 0.6})
    with pytest.raises(ChangedMeanwhile, match=r"cue\.hold was changed to 2\.0 by somebody else meanwhile"):
        control.change("cue", {"hold": 1.0, "enter": 0.5}, {"hold": 0.6, "enter": 0.7})
    assert (control.settings.cue.hold, control.settings.cue.enter) == (2.0, 0.7)
    control.change("cue", {"hold": 2}, {"hold": 0.6})  # the same: both have what they want
    control.change("cue", {"hold": 1.0}, {"hold": 2})
    assert control.settings.cue.hold == 1.0


def test_a_problem_that_comes_up_is_printed_shown_at_once_and_gone_when_it_is_over(
    capsys: pytest.CaptureFixture[str],
) -> None:
    control = Control()
    control.keep_problem("the settings are damaged")
    first = time.monotonic()
    assert control.notice(first) == "the settings are damaged"
    control.begin_problem("glasses: lost")
    assert capsys.readouterr().err == "cuelens: glasses: lost\n"
    assert control.notice(first + 1) == "glasses: lost"
    assert control.notice(first + NOTICE + 1) == "the settings are damaged", "which it had interrupted"
    assert control.notice(first + 2 * NOTICE + 2) == ""
    assert control.problems == ["the settings are damaged", "glasses: lost"]
    control.begin_problem("glasses: lost")
    assert control.problems.count("glasses: lost") == 1
    control.end_problem("glasses: lost")
    control.end_problem("glasses: lost")
    assert control.problems == ["the settings are damaged"]
    assert control.notice(first + 3 * NOTICE) == ""


def test_what_comes_up_long_after_the_problems_of_the_start_is_shown_too() -> None:
    control = Control(pause=KeptPause(None))
    control.keep_problem("threads is 99")
    assert [control.notice(now) for now in (0.0, NOTICE, 20.0)] == ["threads is 99", "", ""]
    control.begin_problem("faces are upside down", lambda _: None)
    assert [control.notice(now) for now in (20.5, 21.0, 21.0 + NOTICE)] == ["faces are upside down"] * 2 + [""]
    control.paused = True
    assert "the pause is not kept" in control.notice(60.0)
