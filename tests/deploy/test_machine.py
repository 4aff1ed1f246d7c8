"""The device as it is: Debian machines with systemd and sshd, booted in containers, pushed to, killed, started again."""

from __future__ import annotations

import itertools
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deploy.conftest import copy_root, make_key, pip_wheel, run, small_bundle
