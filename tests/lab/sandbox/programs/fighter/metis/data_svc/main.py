"""``python -u -m metis.data_svc.main <config>``."""

from ..entry import run

if __name__ == "__main__":
    run("data")
