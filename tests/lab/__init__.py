"""A fleet of real systemd hosts on one machine: what `./lab` and the fleet tests stand on."""
