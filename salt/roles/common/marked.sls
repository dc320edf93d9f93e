# Before anything is made: what is there by then was made by somebody else, and stays when the
# organization goes.
What the organization makes on this host carries its mark:
  metis_ownership.marked: []
