# It registers nothing, and who goes through it notices its end.
include:
  - roles.ice_via.absent
