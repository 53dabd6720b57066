"""An emulated arm64 board for everyone without hardware: Debian's own kernel and servers under QEMU, reached by SSH and by ADB.

Its answers are real, its times are not: every target that is made of it says `origin: emulated`.
"""
