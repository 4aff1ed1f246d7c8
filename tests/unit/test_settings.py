"""Settings files: what is read, and how a mistake is named."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from edge.errors import SettingsInvalid
from edge.settings import GONE, CueSettings, FaceSettings, Settings, with_sensitivity
from edge.settings_file import load_settings, load_settings_safely


def write(folder: Path, text: str) -> Path:
    path = folder / "cuelens.toml"
    path.write_text(text)
    return path


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert load_settings(write(tmp_path, "")) == Settings()


def test_every_kind_of_value_is_read(tmp_path: Path) -> None:
    settings = load_settings(
        write(tmp_path, 'source = "demo"\nsinks = ["log:a", "terminal"]\nthreads = 2\n[cue]\nhold = 1\nenter = 0.7\n')
    )
    assert settings.source == "demo"
    assert settings.sinks == ("log:a", "terminal")
    assert settings.threads == 2
    assert settings.cue == CueSettings(hold=1.0, enter=0.7)


def test_a_sensitivity_moves_what_is_not_set_itself(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, '[cue]\nhold = 2.5\nsensitivity = "calm"\n'))
    assert settings.cue == replace(with_sensitivity(CueSettings(), "calm"), hold=2.5)
    assert settings.cue.enter != CueSettings().enter


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('sorce = "demo"', 1, ["'sorce'", "did you mean 'source'"]),
        ("[cue]\nholt = 1.0", 2, ["'cue.holt'", "did you mean 'hold'"]),
        ("[cue]\n\nenter = 1.5", 3, ["1.5", "0.0 to 1.0"]),
        ('threads = "two"', 1, ["'two'", "int"]),
        ("threads = true", 1, ["True", "int"]),
        ('pace = "slow"', 1, ["'slow'", "live, fast"]),
        ("sinks = [1]", 1, ["list of strings"]),
        ("# cue\ncue = 3", 2, ["cue is of type int", "table"]),
        ("[zebra]\nx = 1", 1, ["'zebra'", "valid are"]),
    ],
)
def test_a_mistake_is_named_with_file_line_value_and_what_is_valid(
    tmp_path: Path, text: str, line: int, words: list[str]
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:{line}: ")
    assert all(word in message for word in words), message
    assert "\n" not in message


@pytest.mark.parametrize("value", ['"haar"', '"another"', "3"])
def test_a_setting_that_has_gone_is_accepted_and_one_line_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    path = write(tmp_path, f"[faces]\nfinder = {value}\nleast_side = 40\n")
    expected = Settings(faces=FaceSettings(least_side=40))
    assert load_settings(path) == expected
    (line,) = capsys.readouterr().err.splitlines()
    said = "faces.finder is a setting no more: new faces are proposed in one way; delete the line"
    assert line == f"cuelens: {path}:2: {said}"
    assert load_settings_safely(path) == (expected, [])


def test_a_setting_that_has_gone_is_one_of_its_table_alone_and_none_of_today(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r":2: unknown setting 'cue\.finder'"):
        load_settings(write(tmp_path, '[cue]\nfinder = "haar"\n'))
    assert all(key not in asdict(getattr(Settings(), table)) for table, key in GONE)


def test_a_file_that_is_not_toml_says_where(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="line 2"):
        load_settings(write(tmp_path, 'source = "demo"\nthreads = = 2\n'))


def test_a_missing_file_is_a_settings_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="No such file"):
        load_settings(tmp_path / "none.toml")


def test_read_safely_only_what_is_wrong_is_at_its_default_and_each_mistake_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path, 'sinks = ["oled"]\nthreads = 99\nlook = 3\n[cue]\nholt = 1.0\nhold = 2.0\n[zebra]\nx = 1\n')
    settings, mistakes = load_settings_safely(path)
    assert settings == replace(Settings(), sinks=("oled",), cue=CueSettings(hold=2.0))
    assert [line.removeprefix(f"{path}:").split(":")[0] for line in mistakes] == ["2", "3", "5", "7"]
    assert "did you mean 'hold'" in mistakes[2]


@pytest.mark.parametrize("content", [b"source = = 1", b"\x80\x81", b"sinks = [", b"a" * 1000])
def test_read_safely_a_file_that_is_not_toml_is_the_defaults(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cuelens.toml"
    path.write_bytes(content)
    settings, mistakes = load_settings_safely(path)
    assert settings == Settings()
    assert len(mistakes) == 1
    assert "not TOML" in mistakes[0]


def test_read_safely_a_file_that_is_right_has_no_mistakes(tmp_path: Path) -> None:
    assert load_settings_safely(write(tmp_path, "threads = 2")) == (Settings(threads=2), [])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("display.rotate_deg = 1", "valid are 0, 90, 180, 270"),  # each found by tests/fuzz
        ("cue.enter = 1" + 400 * "0", "must be a number of 300 digits or less"),
        ("threads = 0x" + 900 * "f", "valid are 1 to 8"),
        ("threads = " + "9" * 900, "valid are 1 to 8"),
        ("source = " + "[\n" * 3000, "brackets in too many brackets"),
        ("source" + ".a" * 450 + " = 1", "it must be of type str"),
        ("a" * 1001, "1001 characters; a line may have 1000"),
        ("# \n" * 30_000, "has 90000 bytes, more than 65536"),
        ('"\\n\\u001b[2J" = 1', r"unknown setting '\n\x1b[2J'"),
    ],
)
def test_what_no_person_writes_is_one_plain_line_too_and_costs_no_more_than_its_setting(
    tmp_path: Path, line: str, said: str
) -> None:
    path = tmp_path / "cuelens.toml"
    path.write_text(line)
    with pytest.raises(SettingsInvalid) as raised:
        load_settings(path)
    assert said in str(raised.value)
    assert str(raised.value).isprintable()
    settings, mistakes = load_settings_safely(path)
    assert settings == Settings()
    assert mistakes == [str(raised.value)]


def test_of_a_file_that_is_all_mistakes_some_are_reported_and_what_is_right_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "cuelens.toml"
    path.write_text("threads = 2\n" + "".join(f"key{number} = 1\n" for number in range(3000)))
    settings, mistakes = load_settings_safely(path)
    assert settings == Settings(threads=2)
    assert len(mistakes) == 21
    assert mistakes[-1] == f"{path}: and more mistakes than these"


def test_a_pipe_is_no_settings_file_and_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "cuelens.toml"
    os.mkfifo(path)
    with pytest.raises(SettingsInvalid, match="is no plain file"):
        load_settings(path)


SAVED = 'source = "demo"\n[look]\nlanguage = "de"  # Grüße\n'


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + SAVED.encode(),
        SAVED.replace("\n", "\r\n").encode(),
        SAVED.replace("\n", "\r").encode(),
        *(SAVED.encode(form) for form in ("utf-16", "utf-16-le", "utf-32")),
        b"\xfe\xff" + SAVED.encode("utf-16-be"),
        b"\xff\xfe" + SAVED.replace("\n", "\r\n").encode("utf-16-le"),
        SAVED.replace("ü", "u").replace("ß", "ss").encode("utf-16-be"),
        b"\xef\xbb\xbf" + SAVED.replace("\n", "\r\n").encode() + b"\r\n",
    ],
    ids=[
        "BOM",
        "CRLF",
        "CR",
        "UTF-16",
        "UTF-16 unmarked",
        "UTF-32",
        "UTF-16-BE",
        "UTF-16 CRLF",
        "UTF-16-BE unmarked",
        "BOM CRLF",
    ],
)
def test_settings_are_read_as_any_editor_saves_them(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cuelens.toml"
    path.write_bytes(content)
    settings = load_settings(path)
    assert (settings.source, settings.look.language) == ("demo", "de")
    assert load_settings_safely(path) == (settings, [])


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (SAVED.encode("latin-1"), "3: byte 0xfc is no UTF-8; save the file as UTF-8"),
        (SAVED.encode() + b"\0" * 300, "4: 300 NUL bytes, as after a power cut; copy the file again"),
        (SAVED.encode("utf-16") + b"\x0a", "4: its end is no UTF-16-LE, as its beginning is; save the file as UTF-8"),
    ],
    ids=["Latin-1", "NUL", "half a letter"],
)
def test_what_is_wrong_in_its_bytes_is_named_and_a_service_takes_the_rest(
    tmp_path: Path, content: bytes, wrong: str
) -> None:
    path = tmp_path / "cuelens.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsInvalid) as raised:
        load_settings(path)
    assert str(raised.value) == f"{path}:{wrong}"
    settings, mistakes = load_settings_safely(path)
    assert (settings.source, settings.look.language, mistakes) == ("demo", "de", [f"{path}:{wrong}"])


def test_a_file_of_nothing_but_nul_is_no_settings_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "cuelens.toml"
    path.write_bytes(bytes(4096))
    settings, mistakes = load_settings_safely(path)
    assert settings == Settings()
    assert mistakes == [f"{path}:1: 4096 NUL bytes, as after a power cut; copy the file again"]


@pytest.mark.parametrize("value", ["471108", "4711.08", "1979-05-27", "true", '["471108"]', '{ a = "471108" }'])
@pytest.mark.parametrize("key", ["mqtt.password", "mqtt.user", "mqtt.host", "web.token", "web.names", "mqtt", "web"])
def test_no_error_quotes_what_logs_in_or_names_somebody(tmp_path: Path, key: str, value: str) -> None:
    if key == "web.names" and value == '["471108"]':
        pytest.skip("that is right")
    path = write(tmp_path, f"{key} = {value}\n")
    _, mistakes = load_settings_safely(path)
    if (key, value) not in ((name, '{ a = "471108" }') for name in ("mqtt", "web")):
        assert len(mistakes) == 1
    text = " ".join(mistakes)
    assert not any(secret in text for secret in ("4711", "1979")), text


def test_half_an_address_is_not_quoted_with_its_password(tmp_path: Path) -> None:
    path = write(tmp_path, f'source = ["file:rtsp://wearer:{"hunter2" * 20}@h/cam"]\n')
    with pytest.raises(SettingsInvalid) as raised:
        load_settings(path)
    assert "hunter2" not in str(raised.value)
    assert "rtsp://h/cam" in str(raised.value)


@pytest.mark.parametrize(("printed", "meant"), [("0x78", "0x3c"), ("0x7a", "0x3d"), ("0xec", None)])
def test_an_address_as_boards_have_it_printed_is_explained(tmp_path: Path, printed: str, meant: str | None) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(write(tmp_path, f"[oled]\naddress = {printed}\n"))
    hint = f"; {printed} is printed on many boards, and is {meant} here"
    assert (hint in str(caught.value)) == (meant is not None)
    assert f"oled.address is {int(printed, 16)}; valid are 8 to 119" in str(caught.value)
