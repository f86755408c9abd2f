//! What arrived where. No thread: a packet waits in the socket of its capture until it is asked for.
