#!py
"""A host's pillar: its view, made from the organization files of pillar/orgs/."""


def run():
    return __salt__["metis_orgs.pillar"](__opts__["id"])
