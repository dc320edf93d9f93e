# Looked at in the same run that brings a host to a state: a verb learns how the host is without a
# second round trip, and without another pillar.
The instances of this host are looked at:
  metis_instance.seen:
    - order: last
