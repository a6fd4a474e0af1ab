"""The simulation: core, venue, network, disk and process on one virtual clock, from one seed."""
