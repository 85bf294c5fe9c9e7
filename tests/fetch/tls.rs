//! The network and TLS: who is not there, who is not trusted, and who does not trust the device.
