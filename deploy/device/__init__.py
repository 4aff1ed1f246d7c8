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

A failure is one line that ends in the identifier of its cause, which deploy/failure.py has. Exit codes: 2 wrong
command line, 73 an installation failed, 91 not root, 92 another architecture, 93 another release of the system, 94
another Python or a missing tool, 95 no space, 96 a system that keeps nothing, 97 a damaged bundle, 98 one that is not
signed by a known key, 99 a release that does not work, or none to go back to.

pack.sh makes one file of install.sh and these modules, which is all that a device gets, and keeps beside each release.
"""
