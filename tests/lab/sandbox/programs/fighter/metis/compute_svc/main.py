"""``python -u -m metis.compute_svc.main <config>``."""

from ..entry import run

if __name__ == "__main__":
    run("compute")
