"""On the device, as root: puts a release there, old or new and never half, and goes back when a new one does not work.

/opt/cuelens/releases/VERSION  a release; whole once it has the file `whole`, in which stands its number
/opt/cuelens/current           the one that starts
/opt/cuelens/good              the newest that was seen working; while `current` is another, that one is on trial
/opt/cuelens/previous          the good one before
/opt/cuelens/tried             the version on trial that a boot was spent on
/opt/cuelens/failed            the version that was taken back last, and why
/opt/cuelens/before-VERSION    the settings before those that came with VERSION; they come back when it goes
/opt/cuelens/signers-before-VERSION    the known keys before VERSION, which another key signed; they come back too
/usr/local/bin/cuelens         a link to the program of `current`

A link changes by a rename, after what it names is on the disk; units are links into `current` and `good`. So whatever
kills this leaves a whole release to start, or none before the first. At boot `settle` removes what is half; a release
on trial gets that one boot to prove itself. Waiting is counted on the monotonic clock: a Raspberry Pi's own is wrong
without a network.

A failure is one line that ends in the identifier of its cause, which deploy/failure.py has
beside the exit code of its kind.

pack.sh makes one file of install.sh and these modules, which is all that a device gets, and keeps beside each release.
"""
