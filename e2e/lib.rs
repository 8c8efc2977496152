//! A local real cluster: control plane, gateway, Prometheus, simulated nodes and pods.
