"""What a device, a run or a log shows of itself: checks, status, report, replay, and safe mode."""
