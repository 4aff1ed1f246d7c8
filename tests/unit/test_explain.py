"""What `cuelens-explain` shows, on networks of which one knows by construction what they look at and look for."""

from __future__ import annotations

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edge.errors import (
    ContractMismatch,
    DataMissing,
    ModelMissing,
    ModelShape,
    RuntimeMissing,
    SettingsInvalid,
    SourceMissing,
    SourceUnreadable,
)
from edge.vision.preprocessing import Preprocessing
from lab.datasets.fer2013 import CLASSES
from tests.support.failures import ended_by
from training.explain import Section, main, show
from training.explain_methods import activations, dream, grad_cam, occlusion
from training.explain_network import Network
from training.explain_pictures import read_labels, read_pictures
from training.explain_sheets import BLIND

SIDE = 24
EXPLAIN = [sys.executable, "-c", "from training.explain import main; main()"]


def save(model: Any, folder: Path, name: str = "model") -> Path:
    path = folder / f"{name}.keras"
    model.save(path)
    return path


def build(ends: str = "softmax", channels: int = 1) -> Any:
    """Build a small untrained network of three classes that ends as named."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    pixels = layers.Input((SIDE, SIDE, channels))
    x = layers.Rescaling(1 / 127.5, -1)(pixels)
    x = layers.Conv2D(8, 5, padding="same", name="first")(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU(name="active")(x)
    x = layers.Add(name="twice")([x, layers.Conv2D(8, 3, padding="same", activation="relu", name="second")(x)])
    x = layers.MaxPooling2D(name="pooled")(x)
    x = layers.Dropout(0.5)(layers.Flatten()(x))
    x = layers.Dense(3, activation="softmax" if ends == "dense" else None, name="logits")(x)
    if ends == "softmax":
        x = layers.Softmax(name="probabilities")(x)
    return keras.Model(pixels, x)


def build_nested() -> Any:
    """Build a network that makes gray rgb and larger, and leaves the rest to a network inside it, softmax too."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    inner = keras.Sequential(
        [
            layers.Input((32, 32, 3)),
            layers.Conv2D(8, 5, 2, name="inside"),
            layers.ReLU(name="inside_active"),
            layers.GlobalAveragePooling2D(name="mean"),
            layers.Dense(4, "softmax", kernel_initializer="identity", name="end"),
        ]
    )
    kernel, bias = inner.get_layer("inside").get_weights()
    inner.get_layer("inside").set_weights([kernel - kernel.mean(axis=(0, 1, 2)), bias])  # edges, not brightness
    pixels = layers.Input((SIDE, SIDE, 1))
    rgb = layers.Concatenate(name="rgb")([layers.Rescaling(1 / 127.5, -1)(pixels)] * 3)
    return keras.Model(pixels, inner(layers.Resizing(32, 32, name="large")(rgb)))


def build_blind() -> Any:
    """Build the network that says the same of every picture."""
    import keras
    from keras import layers

    return keras.Sequential(
        [layers.Input((SIDE, SIDE, 1)), layers.Flatten(), layers.Dense(3, "softmax", kernel_initializer="zeros")]
    )


def build_left() -> Any:
    """Build a network whose class 1 is brightness in the left half; it sees no other pixel."""
    import keras
    from keras import layers

    pixels = layers.Input((SIDE, SIDE, 1))
    bright = layers.Conv2D(1, 1, use_bias=False, name="maps")(layers.Rescaling(1 / 255)(pixels))
    model = keras.Model(pixels, layers.Dense(2, "softmax", name="end")(layers.Flatten()(bright)))
    model.get_layer("maps").set_weights([np.ones((1, 1, 1, 1), np.float32)])
    kernel = np.zeros((SIDE, SIDE, 2), np.float32)
    kernel[:, : SIDE // 2, 1] = 12 / SIDE**2
    model.get_layer("end").set_weights([kernel.reshape(-1, 2), np.array([2, 0], np.float32)])
    return model


def faces(count: int = 2, seed: int = 0, *colours: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, *colours), np.uint8)


def logits(network: Network, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return logits less their mean, which no softmax sees."""
    log = np.log(np.maximum(network.predict(images).astype(np.float64), 1e-30))
    return log - log.mean(axis=1, keepdims=True)


def high_share(image: npt.NDArray[np.uint8]) -> float:
    """Return the share of a gray picture's variance in waves shorter than four pixels; 0.8 for noise."""
    picture = image.astype(np.float64)
    energy = np.abs(np.fft.fft2(picture - picture.mean())) ** 2
    waves = np.hypot(np.fft.fftfreq(len(image))[:, None], np.fft.fftfreq(len(image)))
    return float(energy[waves > 0.25].sum() / energy.sum())


@pytest.mark.host
@pytest.mark.parametrize("ends", ["softmax", "dense", "logits"])
def test_however_a_network_ends_its_logits_and_probabilities_are_the_same(tmp_path: Path, ends: str) -> None:
    model = build(ends)
    network = Network(save(model, tmp_path))
    images = faces(70)
    pixels = images[..., None].astype(np.float32)
    given, _ = network.run(pixels)
    plain = build("logits")(pixels)
    np.testing.assert_allclose(given, plain, rtol=1e-4, atol=1e-4)
    raised = np.exp(plain - np.max(plain, axis=1, keepdims=True))
    np.testing.assert_allclose(network.predict(images), raised / raised.sum(axis=1, keepdims=True), atol=1e-4)


@pytest.mark.host
def test_of_probabilities_that_no_softmax_layer_made_the_logarithm_is_taken(tmp_path: Path) -> None:
    import keras
    from keras import layers

    pixels = layers.Input((SIDE, SIDE, 1))
    parts = [layers.Softmax()(layers.Dense(3)(layers.Flatten()(pixels))) for _ in range(2)]
    model = keras.Model(pixels, layers.Average()(parts))
    network = Network(save(model, tmp_path))
    images = faces(4)
    pixels = (images[..., None] / 10_000).astype(np.float32)
    np.testing.assert_allclose(network.run(pixels)[0], np.log(model(pixels)), rtol=1e-4)


@pytest.mark.host
@pytest.mark.parametrize(
    ("make", "classes"), [(build, 3), (lambda: build("logits"), 3), (lambda: build("dense", 3), 3), (build_nested, 4)]
)
def test_a_dream_is_read_as_its_class_and_is_smoother_than_noise(tmp_path: Path, make: Any, classes: int) -> None:
    network = Network(save(make(), tmp_path))
    units = list(range(classes))
    starts, dreams = dream(network, units, seed=3)
    assert dreams.shape == (classes, SIDE, SIDE, network.preprocessing.channels)
    raised = (logits(network, dreams) - logits(network, starts))[units, units]
    noise = np.random.default_rng(0).integers(0, 256, (8, *dreams.shape[1:]), np.uint8)
    by_noise = (logits(network, noise) - logits(network, starts[:1])).max(axis=0)
    assert (raised > 1.5 * np.maximum(by_noise, 0.01)).all(), (raised, by_noise)
    for dreamt, noisy in zip(dreams, noise, strict=False):
        assert dreamt.std() > 20, "there is something to see"
        assert high_share(dreamt[..., 0]) < 0.4 * high_share(noisy[..., 0])


@pytest.mark.host
def test_a_dream_of_a_picture_keeps_the_picture_and_changes_what_is_read(tmp_path: Path) -> None:
    network = Network(save(build_left(), tmp_path))
    start = np.tile(np.linspace(40, 90, SIDE, dtype=np.uint8)[:, None], (1, SIDE))
    assert network.predict(start[None])[0, 1] < 0.5
    starts, dreams = dream(network, [1], start, steps=15)
    np.testing.assert_array_equal(starts[0, ..., 0], start)
    assert network.predict(dreams)[0, 1] > 0.8
    change = np.abs(dreams[0, ..., 0].astype(int) - start)
    assert change[:, : SIDE // 2].mean() > 2 * change[:, -SIDE // 4 :].mean(), "it sees the left half alone"


@pytest.mark.host
def test_the_same_seed_dreams_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    network = Network(save(build(), tmp_path))
    first, again, other = (dream(network, [0, 2], seed=seed, steps=4)[1].tobytes() for seed in (5, 5, 6))
    assert first == again
    assert first != other


@pytest.mark.host
def test_a_channel_of_a_layer_answers_more_to_its_dream_than_to_the_start(tmp_path: Path) -> None:
    network = Network(save(build_nested(), tmp_path))
    layer = network.middle_layer()
    assert layer is not None
    assert network.layers[layer][0].name == "inside_active"
    channels = network.loudest(layer, network.noise(4), 2)
    starts, dreams = dream(network, channels, layer=layer, steps=10)

    before, after = (np.asarray(network.run(images.astype(np.float32))[1][layer].left) for images in (starts, dreams))
    for i, channel in enumerate(channels):
        assert after[i, ..., channel].mean() > 3 * before[i, ..., channel].mean() + 0.01


@pytest.mark.host
def test_a_network_that_ignores_the_picture_is_reported_and_dreams_nothing(tmp_path: Path) -> None:
    network = Network(save(build_blind(), tmp_path))
    assert not network.looks(faces())
    starts, dreams = dream(network, [0, 1, 2], steps=2)
    assert np.abs(dreams.astype(int) - starts).max() <= 40, "only the faint noise of the start"
    assert not occlusion(network, faces()).any()
    with pytest.raises(ModelShape, match="no convolution"):
        grad_cam(network, faces(), [0, 1])


@pytest.mark.host
def test_a_network_that_does_look_is_not_called_blind(tmp_path: Path) -> None:
    assert Network(save(build_left(), tmp_path)).looks(faces())


@pytest.mark.host
def test_maps_of_a_network_of_the_left_half_are_strong_there_alone(tmp_path: Path) -> None:
    network = Network(save(build_left(), tmp_path))
    images = np.full((3, SIDE, SIDE), 60, np.uint8)
    images[:, 6:18, 3:9] = 250  # in the left half
    images[:, 6:18, 15:21] = 250
    lost = occlusion(network, images)
    assert lost.shape == (3, SIDE, SIDE, 2)
    left, right = lost[:, 8:16, 4:8, 1], lost[:, :, SIDE // 2 + 4 :, 1]
    assert left.min() > 0.02
    assert np.abs(right).max() < 1e-5
    np.testing.assert_allclose(lost[..., 0], -lost[..., 1], atol=1e-5)


@pytest.mark.host
def test_grad_cam_shines_where_the_maps_that_count_are(tmp_path: Path) -> None:
    import keras
    from keras import layers

    # One map a half; class 1 hears the left one alone, class 0 the right one.
    pixels = layers.Input((SIDE, SIDE, 1))
    maps = layers.Conv2D(2, (1, SIDE), padding="same", use_bias=False, name="maps")(pixels)
    model = keras.Model(pixels, layers.Dense(2, name="end")(layers.GlobalAveragePooling2D()(maps)))
    # Looks half a width to the right or to the left: zero padding leaves each map one half of the picture.
    kernel = np.zeros((1, SIDE, 1, 2), np.float32)
    kernel[0, -1, 0, 0] = kernel[0, 0, 0, 1] = 1
    model.get_layer("maps").set_weights([kernel])
    model.get_layer("end").set_weights([np.eye(2, dtype=np.float32), np.zeros(2, np.float32)])
    network = Network(save(model, tmp_path))
    heat = grad_cam(network, np.full((2, SIDE, SIDE), 200, np.uint8), [0, 1])
    assert heat.shape == (2, SIDE, SIDE)
    assert (heat[0, :, : SIDE // 2 - 1] == 1).all()
    assert (heat[0, :, SIDE // 2 + 1 :] == 0).all()
    assert (heat[1, :, : SIDE // 2 - 1] == 0).all()
    assert (heat[1, :, SIDE // 2 + 1 :] == 1).all()


@pytest.mark.host
def test_grad_cam_takes_the_last_maps_before_the_pooling_also_inside_a_nested_network(tmp_path: Path) -> None:
    for make, name in ((build, "twice"), (build_nested, "inside_active")):
        network = Network(save(make(), tmp_path, name))
        layer = network.spatial_layer()
        assert layer is not None
        assert network.layers[layer][0].name == name
        heat = grad_cam(network, faces(70), [i % 3 for i in range(70)])
        assert heat.shape == (70, SIDE, SIDE)
        assert np.isfinite(heat).all()
        assert heat.max() == 1


@pytest.mark.host
def test_activations_are_what_each_layer_gives_in_the_order_of_the_network(tmp_path: Path) -> None:
    model = build()
    network = Network(save(model, tmp_path))
    image = faces()[0]
    seen = activations(network, image)
    named = {name: values for name, _, values in seen}
    assert list(named) == ["first", "active", "second", "twice", "pooled", "logits", "probabilities"]
    assert named["first"].shape == (SIDE, SIDE, 8)
    np.testing.assert_allclose(named["twice"], named["active"] + named["second"], rtol=1e-5)
    np.testing.assert_allclose(named["probabilities"], network.predict(image[None])[0], atol=1e-5)
    assert [name for name, _, _ in activations(Network(save(build_nested(), tmp_path)), image)] == [
        "rgb",
        "large",
        "inside",
        "inside_active",
        "mean",
        "end",
    ]


class Sources(HTMLParser):
    """The files that a page shows, with their words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.shown: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert not {"href", "onload"} & given.keys()
        if tag == "img":
            self.shown[given["src"] or ""] = given["alt"] or ""


@pytest.mark.host
def test_the_command_writes_every_picture_and_a_page_that_shows_them(tmp_path: Path) -> None:
    model, out = save(build(), tmp_path), tmp_path / "out"
    files = [tmp_path / "gray.png", tmp_path / "colour, large.jpg"]
    cv2.imwrite(str(files[0]), faces()[0])
    cv2.imwrite(str(files[1]), cv2.resize(faces(1, 1, 3)[0], (90, 90)))
    words = [str(model), *map(str, files), "--out", str(out), "--labels", "smile,<frown>,none"]
    with pytest.raises(SystemExit) as caught:
        main([*words, "--debug"])
    assert caught.value.code == 0
    shown = Sources((out / "index.html").read_text()).shown
    written = {str(path.relative_to(out)) for path in out.rglob("*.png")}
    assert shown.keys() == written
    assert all(shown.values()), "each has words"
    assert len([file for file in written if file.startswith("activations/")]) == 7
    assert {"activations/1_first.png", "activations/7_probabilities.png", "dream/1__frown_.png"} < written
    assert {"dream.png", "dream_picture.png", "dream_layer.png", "gradcam.png", "occlusion.png"} < written
    for file in written:
        picture = cv2.imread(str(out / file))
        assert min(picture.shape[:2]) > 250, file
        assert picture.std() > 10, file


@pytest.mark.host
@pytest.mark.parametrize("name", ["caf\udce9", "a\nb", "100%", "$\\frac{$", "-face", "ü" * 125])
def test_a_picture_of_any_name_is_shown_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    model, out = save(build(), tmp_path), tmp_path / name
    (tmp_path / f"{name}.png").write_bytes(cv2.imencode(".png", faces()[0])[1].tobytes())
    words = [str(model), str(tmp_path / f"{name}.png"), "--out", str(out), "--labels", "smile,$\\frown{,none"]
    with pytest.raises(SystemExit) as caught:
        main([*words, "--what", "activations,gradcam,occlusion", "--debug"])
    assert caught.value.code == 0
    shown = Sources((out / "index.html").read_bytes().decode()).shown
    assert shown.keys() == {str(path.relative_to(out)) for path in out.rglob("*.png")}


@pytest.mark.host
def test_a_blind_network_reports_so_in_words_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = save(build_blind(), tmp_path), tmp_path / "out"
    picture = tmp_path / "face.png"
    cv2.imwrite(str(picture), faces()[0])
    with pytest.raises(SystemExit) as caught:
        main([str(model), str(picture), "--out", str(out), "--debug"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.count(BLIND) == 4
    text = (out / "index.html").read_text()
    assert BLIND in Sources(text).shown["dream.png"]
    assert "no convolution" in text
    assert "nan" not in text


@pytest.mark.host
def test_one_class_and_no_picture_dream_of_it_alone(tmp_path: Path) -> None:
    model, out = save(build(), tmp_path), tmp_path / "out"
    with pytest.raises(SystemExit) as caught:
        main([str(model), "--out", str(out), "--class", "class 2", "--debug"])
    assert caught.value.code == 0
    assert {path.name for path in out.rglob("*.png")} == {"dream.png", "2_class_2.png", "dream_layer.png"}


@pytest.mark.host
def test_pictures_of_a_data_set_come_with_their_class(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        for name in ("dark", "light"):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for i in range(3):
                cv2.imwrite(str(folder / f"{split}_{name}_{i}.png"), faces(1, i)[0] // 2 + 127 * (name == "light"))
    model, out = save(build_left(), tmp_path), tmp_path / "out"
    words = [str(model), "--data", str(tmp_path / "data"), "--out", str(out), "--labels", "dark,light"]
    with pytest.raises(SystemExit) as caught:
        main([*words, "--what", "gradcam", "--debug"])
    assert caught.value.code == 0
    shown = Sources((out / "index.html").read_text()).shown["gradcam.png"]
    assert (shown.count("validation_dark"), shown.count("validation_light"), shown.count("test")) == (2, 2, 0)


@pytest.mark.host
@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["--what", "gradcam"], SettingsInvalid, "--what gradcam needs a picture; give an IMAGE file or --data"),
        (["--what", "dream,lime"], SettingsInvalid, "'lime'; valid are activations, dream, gradcam, occlusion"),
        (["--class", "angry"], SettingsInvalid, "--class is 'angry'"),
        (["--labels", "a,b"], SettingsInvalid, "names 2 classes"),
        (["none.png"], SourceMissing, "none.png: no such file"),
        (["--data", "none.csv"], DataMissing, "none.csv"),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], error: Any, said: str
) -> None:
    model = str(save(build(), tmp_path))
    with pytest.raises(SystemExit) as caught:
        main([model, *words, "--out", str(tmp_path / "out")])
    shown = capsys.readouterr().err
    assert said in ended_by(error, caught.value.code, shown)
    assert shown.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.host
def test_a_model_that_is_no_classifier_of_pictures_is_refused(tmp_path: Path) -> None:
    import keras
    from keras import layers

    pixels = layers.Input((SIDE, SIDE, 1))
    for i, output in enumerate([layers.Conv2D(3, 3)(pixels), layers.Dense(1)(layers.Flatten()(pixels))]):
        with pytest.raises(ModelShape, match="a classifier gives"):
            Network(save(keras.Model(pixels, output), tmp_path, str(i)))
    with pytest.raises(ModelMissing):
        Network(tmp_path / "none.keras")


@pytest.mark.host
def test_another_backend_is_named_with_the_variable_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    path = save(build(), tmp_path)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(RuntimeMissing, match=r"'jax'.*KERAS_BACKEND=tensorflow"):
        Network(path)


def test_pictures_are_read_as_rgb_and_brought_to_the_networks_size(tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    cv2.imwrite(str(path), np.full((50, 80, 3), (0, 0, 255), np.uint8))  # OpenCV writes blue, green, red
    coloured = read_pictures([path, path], Preprocessing(SIDE, "rgb"))
    assert coloured.images.shape == (2, SIDE, SIDE, 3)
    assert coloured.images[0, 0, 0].tolist() == [255, 0, 0]
    assert read_pictures([path], Preprocessing(SIDE)).images[0, 0, 0] == 76, "BT.601 luma of red"


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_picture_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "face.png"
    path.write_bytes(content)
    with pytest.raises(SourceUnreadable, match=r"face\.png"):
        read_pictures([path], Preprocessing(SIDE))


def test_labels_are_the_options_then_the_contracts_then_known_or_numbered(tmp_path: Path, repository: Path) -> None:
    alone = tmp_path / "model.keras"
    assert read_labels(alone, 3, "a, b,c") == ("a", "b", "c")
    assert read_labels(alone, 7) == CLASSES
    assert read_labels(alone, 2) == ("class 0", "class 1")
    shipped = repository / "models" / "emotion.keras"
    (tmp_path / "model.json").write_bytes(shipped.with_suffix(".json").read_bytes())
    assert read_labels(alone, 7) == CLASSES
    with pytest.raises(ContractMismatch, match="7 labels"):
        read_labels(alone, 3)


def test_a_page_shows_names_as_they_are_and_links_files_as_addresses() -> None:
    pytest.importorskip("jinja2", reason="jinja2 is the host's")
    text = show("<model>", [Section("A & B", "why <b>", (("a b/#1.png", 'says "x"'),))])
    assert "&lt;model&gt;" in text
    assert "<b>" not in text
    assert Sources(text).shown == {"a%20b/%231.png": 'says "x"'}


@pytest.mark.host
@pytest.mark.slow
def test_the_shipped_model_dreams_of_every_class(repository: Path) -> None:
    network = Network(repository / "models" / "emotion.keras")
    _, dreams = dream(network, list(range(7)))
    assert (network.predict(dreams).diagonal() > 0.95).all()
    assert max(high_share(dreamt[..., 0]) for dreamt in dreams) < 0.1


def test_a_missing_model_is_one_line_and_its_own_code(tmp_path: Path, repository: Path) -> None:
    command = [*EXPLAIN, "none.keras", "--out", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (ModelMissing.exit_code, RuntimeMissing.exit_code)
    assert done.stderr.endswith((" [model-missing]\n", " [runtime-missing]\n"))
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("-c: ")
