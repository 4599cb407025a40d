"""pymilter, Python on libmilter, under the same load: every callback answered, one header added at the end of message.

    filter.py ADDR
"""

import sys

import Milter


class Marking(Milter.Base):
    # Base leaves out each step whose method is its own, so each has one here.
    def connect(self, hostname, family, hostaddr):
        return Milter.CONTINUE

    def unknown(self, command):
        return Milter.CONTINUE

    def hello(self, hostname):
        return Milter.CONTINUE

    def envfrom(self, address, *args):
        return Milter.CONTINUE

    def envrcpt(self, address, *args):
        return Milter.CONTINUE

    def data(self):
        return Milter.CONTINUE

    def header(self, name, value):
        return Milter.CONTINUE

    def eoh(self):
        return Milter.CONTINUE

    def body(self, segment):
        return Milter.CONTINUE

    def eom(self):
        self.addheader("X-Filtered", "yes")
        return Milter.CONTINUE


Milter.factory = Marking
Milter.set_flags(Milter.ADDHDRS)
Milter.runmilter("pyfilter", sys.argv[1])
