include:
  - roles.fighter.laid_down
