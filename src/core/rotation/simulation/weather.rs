//! How much goes wrong.

/// What the world does to the device, as chances per hour.
#[derive(Clone, Copy)]
pub struct Weather {
    pub outages: f64,
    pub setup_faults: f64,
    pub token_faults: f64,
    pub suspends: f64,
    pub clock_steps: f64,
    pub daemon_restarts: f64,
    pub pin_refusals: f64,
    pub restart_fails: f64,
}

pub const CALM: Weather = Weather {
    outages: 0.0,
    setup_faults: 0.0,
    token_faults: 0.0,
    suspends: 0.0,
    clock_steps: 0.0,
    daemon_restarts: 0.0,
    pin_refusals: 0.0,
    restart_fails: 0.0,
};

pub const STORM: Weather = Weather {
    outages: 0.5,
    setup_faults: 0.05,
    token_faults: 0.05,
    suspends: 0.1,
    clock_steps: 0.2,
    daemon_restarts: 0.2,
    pin_refusals: 0.005,
    restart_fails: 0.3,
};
