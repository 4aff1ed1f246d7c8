"""What stops a flash: each cause with its exit code and one line for the user."""

from __future__ import annotations


class FlashError(Exception):
    """A failure with one line for the user."""

    exit_code = 1


class NotAnImage(FlashError, ValueError):
    """The file is missing, or holds no disk of a FAT boot partition and an ext4 root."""

    exit_code = 100


class ImageCutShort(FlashError, EOFError):
    """The file ends before its disk does, or is damaged."""

    exit_code = 101


class ChecksumWrong(FlashError, ValueError):
    """The image has no checksum to hold it to, or another one."""

    exit_code = 102


class NotRaspberryPiOS(FlashError, ValueError):
    """The image is another system's."""

    exit_code = 103


class ReleaseNotServed(FlashError, ValueError):
    """A release of Raspberry Pi OS that Cuelens has no bundle for, or that lacks what its first boot needs."""

    exit_code = 104


class ImageIs32Bit(FlashError, ValueError):
    """The image's programs are for 32 bits."""

    exit_code = 105


class ImageCannot(FlashError, ValueError):
    """The image has no room for Cuelens, or cannot do what is asked of it."""

    exit_code = 106


class TargetRefused(FlashError, OSError):
    """The disk or file must not be written, or cannot be."""

    exit_code = 107


class ReadBackDiffers(FlashError, OSError):
    """What was read back is not what was written."""

    exit_code = 108


class ToolMissing(FlashError, FileNotFoundError):
    """A program or file that flashing needs is not here."""

    exit_code = 109
