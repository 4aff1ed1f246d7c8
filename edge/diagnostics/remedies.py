"""What to do about each failure of edge/errors.py, by its name; docs/errors.md is made of both."""

from __future__ import annotations

REMEDIES = {
    "source-missing": "Check the path, and that the user who runs Cuelens may read it.",
    "source-empty": "Give a file with content, or a folder with pictures.",
    "source-unreadable": (
        "Convert the file to H.264 in .mp4, or to .jpg or .png; the message names the format where it is known."
    ),
    "source-truncated": "Copy or download the file again; the frames before the end were processed.",
    "camera-missing": "Check the cable, then run `cuelens check`, which names the cameras that the system has.",
    "camera-lost": "Check cable and power supply; a service starts again by itself.",
    "source-unknown": "Use one of the names that the message lists.",
    "model-missing": (
        "Check the path; the contract is the .json file beside the model. Without `model`, the shipped one is used."
    ),
    "model-unreadable": "Copy the file again, or convert it again with `cuelens-convert`.",
    "model-shape": "Use a model that `cuelens-convert` made.",
    "contract-mismatch": "Copy model and contract together, or convert again.",
    "contract-unreadable": "Copy the contract again, or convert again.",
    "gate-failed": "Open `report.html`: it shows the layers and classes that lose most.",
    "checkpoint-unusable": "Use an empty `--out` folder, or the options that the checkpoint was made with.",
    "fit-diverged": "Use a smaller `--learning-rate`, and check the data with `cuelens-data`.",
    "operator-unsupported": "Replace the layer that the message names.",
    "data-missing": "Check the path; the message names how to get the data set.",
    "data-column-missing": "Add the column that the message names, or use another file.",
    "data-row-invalid": "Correct or remove the row that the message names.",
    "data-label-invalid": "Correct the label in the row or file that the message names.",
    "data-unreadable": "Download or copy the data set again.",
    "data-split-empty": "Use another `--split`; the message lists those that have rows.",
    "data-layout-unknown": "Make one folder for each class, or a `labels.csv`.",
    "data-class-single": "Add pictures of a second class.",
    "data-class-empty": "Add pictures of the class that the message names.",
    "sink-unwritable": "Use a path that you may write to.",
    "disk-full": "Free some space, or use another disk.",
    "sink-unknown": "Use one of the names that the message lists.",
    "sink-failed": "Do what the message says; `cuelens check` examines what each sink needs.",
    "camera-stuck": "Unplug the camera and plug it in again, or restart the device; a service starts again by itself.",
    "model-failed": "Run `cuelens check`, and send a report (`cuelens report`).",
    "settings-invalid": "Correct the line that the message names; it lists what is valid.",
    "runtime-missing": "Install what the message names (`./deploy.sh sinks`, `./deploy.sh host`), or use Linux.",
    "loop-stuck": "Send a report (`cuelens report`); a service starts again by itself.",
    "memory-short": "Use a smaller `--batch`.",
    "check-failed": "Do what the lines that begin with `do` say.",
    "not-running": (
        "Start the service (`sudo systemctl start cuelens`), or name the socket of a run by hand with "
        "`--socket`; use `sudo` for the service's."
    ),
    "light-unlit": "Check the LED, its resistors and the pin; see the wiring in [Parts](parts.md#wiring).",
    "pin-missing": "Check the number and the group: the user must be in `gpio`.",
    "pin-busy": "End the other program, or use another line; `gpioinfo` names the program.",
    "input-misread": "Correct `input` in the recipe as the message says.",
    "labels-permuted": "Correct `classes` in the recipe.",
    "ranges-foreign": "Give `--data` with the pictures that the network is for.",
    "network-foreign": "Convert the network again.",
    "confidence-drifted": "Quantise with the recipe's other settings; `report.html` shows where the drift begins.",
    "not-quantised": "Convert again; the message names the tensors.",
    "cost-grown": "Make the stage cheaper, or accept the new figures by replacing the reference.",
    "bench-failed": "Read the message of the run that failed.",
    "results-stale": "Run `cuelens-bench page`, of .venv-host, and commit what it changed.",
}
