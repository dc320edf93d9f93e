# With it a unit removes its program's stale registration before it starts.
The program curl is installed:
  pkg.installed:
    - name: curl
