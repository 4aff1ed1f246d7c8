"""Addresses are printed without what logs in to them, wherever they stand in a line; host and path stay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import SourceUnreadable, printable
from edge.settings import Settings
from edge.settings_file import hide_secrets
from edge.sinks.mqtt_broker import MqttSettings
from edge.sinks.web import WebSettings
from edge.system import secrecy
from edge.system.secrecy import plain, plain_address

CASES = [
    ("rtsp://wearer:hunter2@127.0.0.1:554/cam", "rtsp://127.0.0.1:554/cam"),
    ("file:rtsp://wearer:hunter2@h/cam", "file:rtsp://h/cam"),
    ("rtsp://wearer@h/cam", "rtsp://h/cam"),
    ("rtsp://:hunter2@h", "rtsp://h"),
    ("rtsp://wearer:hun@ter2@h/cam", "rtsp://h/cam"),
    ("rtsp://wearer:hun/ter2@h/cam", "rtsp://h/cam"),
    ("rtsp://wearer:h#unter2@h/cam", "rtsp://…"),
    ("rtsp://wearer:hun?ter2@h/cam", "rtsp://…"),
    ("http://h/v?password=hunter2", "http://h/v…"),
    ("http://h/v?mail=a@hunter2", "http://…"),
    ("http://h/v#hunter2", "http://h/v…"),
    ("http://h?hunter2", "http://h…"),
    ("rtsp://h/user=admin&password=hunter2&channel=1", "rtsp://h/…"),
    ("rtsp://h/user=admin_password=hunter2_channel=1/s", "rtsp://h/…"),
    ("rtsp://h/cam;password=hunter2", "rtsp://h/cam…"),
    ("http://h/v%3Fpassword%3Dhunter2", "http://h/v…"),
    ("mqtts://ha:hunter2@broker.lan:8883", "mqtts://broker.lan:8883"),
    ("HTTP://ME:hunter2@[::1]:80/x", "HTTP://[::1]:80/x"),
    ("ha:hunter2@broker.lan", "broker.lan"),
    ("http://127.0.0.1:8317/", "http://127.0.0.1:8317/"),
    ("/home/x/a@b.mp4", "/home/x/a@b.mp4"),
    ("mail me@example.org", "mail me@example.org"),
    ("demo:1", "demo:1"),
    ("v4l2:0,1280x720@30", "v4l2:0,1280x720@30"),
    ("v4l2:/dev/video0,320x240@15", "v4l2:/dev/video0,320x240@15"),
    ("v4l2:hunter2@30.lan", "30.lan"),
]


@pytest.mark.parametrize(("address", "shown"), CASES)
@pytest.mark.parametrize("around", ["{}", "{}: no stream; check it", "source '{}' (x)", "sink {}, waiting"])
def test_user_password_query_and_fragment_are_left_out_of_a_line(address: str, shown: str, around: str) -> None:
    assert plain(around.format(address)) == around.format(shown)
    assert "hunter2" not in str(SourceUnreadable(around.format(address)))


def test_two_addresses_in_a_line_are_both_cleaned() -> None:
    assert plain("from rtsp://a:b@c/d to http://e:f@g/h?i now") == "from rtsp://c/d to http://g/h… now"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("file:http://h/v?password=my hunter2 too", "file:http://h/v…"),
        ("file:rtsp://me:my hunter2@h/cam", "file:rtsp://h/cam"),
        ("file:film.mp4", "file:film.mp4"),
        ("file:http://a:b@c/d", "file:http://c/d"),
        ("v4l2:/dev/video0", "v4l2:/dev/video0"),
    ],
)
def test_a_whole_address_is_cleaned_with_its_blanks(address: str, shown: str) -> None:
    assert plain_address(address) == shown


SIGNS = st.characters(min_codepoint=33, max_codepoint=126)


@given(st.text(SIGNS, min_size=8, max_size=30), st.sampled_from(["{}", "'{}'", "{}: broken"]))
def test_no_password_of_any_signs_stays(password: str, around: str) -> None:
    shown = plain(around.format(f"rtsp://me:{password}@host.lan/cam"))
    assert password not in shown
    assert shown.startswith(around[0].replace("{", "rtsp"))


def test_what_the_settings_keep_secret_is_printed_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrecy, "_known", {})
    source = "file:http://h/v?password=my hunter2 too"
    hide_secrets(
        Settings(source=source, own={"web": WebSettings(token="t" * 16), "mqtt": MqttSettings(password="sword fish")})
    )
    line = printable(f"Error of {source[5:]}: sword fish, {'t' * 16}")
    assert line == "Error of http://h/v…: …, …"
    hide_secrets(Settings(own={"mqtt": MqttSettings(password="mqtt")}))
    assert printable("mqtt") == "mqtt", "a short one is a word of many"
