//! One run: a seed, a cluster, the operator's own code, on a virtual clock and one thread.

mod climate;
mod clock;
mod many;
mod operator;
pub mod shop;
mod sim;
mod trace;

use self::climate::Climate;
pub use self::{
    clock::{BEGINNING, Skew, virtual_clock},
    many::{Failure, many},
    operator::{Leads, Operator, PLATFORM, Setup, rendered_policies},
    sim::{Late, Plot, Sim},
    trace::{SharedTrace, Told, Trace, Writer},
};
