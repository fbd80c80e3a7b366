"""Two real Debian hosts on this machine, with the application, its surroundings and its faults.

``./hkn lab`` (or ``python -m lab``) is the command line; ``lab.lab.Lab`` is the same thing for programs and tests.
"""
