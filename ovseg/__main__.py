"""``python -m ovseg`` is the command ``ovseg``, also where torchrun starts it."""

from ovseg.cli.command import enter

if __name__ == '__main__':
    enter()
