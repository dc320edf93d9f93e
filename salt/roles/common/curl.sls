include:
  - roles.common.marked

# With it a unit removes its program's stale registration before it starts.
The program curl is installed:
  pkg.installed:
    - name: curl
    - require:
      - metis_ownership: What the organization makes on this host carries its mark
