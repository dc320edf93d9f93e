# What metis.bootstrap makes of a host whatever its roles are.
include:
  - roles.common.curl
  - roles.common.directories

The time zone is UTC:
  timezone.system:
    - name: Etc/UTC
