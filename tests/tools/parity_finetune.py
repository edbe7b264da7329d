#!/usr/bin/env python3
"""Steps of InceptionV3 as in fine-tuning: frozen through mixed8, batch norms frozen or trained.

usage: parity_finetune.py SCRIPTS OUT [--full] [other arguments of parity.py]
       (needs torch and h5py; not run by any test)

SCRIPTS is the folder of parity.py, a PyTorch script that writes training steps and is not part of
this repository (tests/golden/README.md). Its network is taken as it is, but for what is frozen.
Writes OUT/frozen/inception.h5 and OUT/train/inception.h5.
"""

import sys


def main():
    scripts, out, *arguments = sys.argv[1:]
    sys.path.insert(0, scripts)
    import parity

    whole = parity.InceptionNet
    for kind in ("frozen", "train"):
        class FineTuned(whole):
            frozen_norms = kind == "frozen"

            def __init__(self, divisor):
                super().__init__(divisor, cut="Mixed_7a")

            def train(self, mode=True):
                super().train(mode)
                if self.frozen_norms:
                    self.high.eval()
                return self

        parity.InceptionNet = FineTuned
        sys.argv = ["parity.py", "--models", "inception", "--layout", "nhwc", "--steps", "1",
                    "--out", f"{out}/{kind}", *arguments]
        parity.main()


if __name__ == "__main__":
    sys.exit(main())
