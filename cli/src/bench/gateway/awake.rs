//! Processors that do not sleep.
//!
//! An idle processor of a virtual machine takes long to wake up, each time anew. At a low rate
//! that is most of what a call takes, whoever passes it on.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use crate::bench::child;

/// The least urgent that a thread can be.
const LEAST: i32 = 19;

/// Until this is dropped, processors have something to do that gives way to everything else.
pub(super) struct Awake(Arc<AtomicBool>);

impl Awake {
    pub(super) fn keep(processors: [usize; 2]) -> Self {
        let over = Arc::<AtomicBool>::default();
        for processor in processors {
            let over = over.clone();
            std::thread::spawn(move || {
                // Urgent work would be held up by a loop that is not.
                if child::stay_on(processor).is_err() || rustix::process::nice(LEAST).is_err() {
                    return;
                }
                while !over.load(Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(over)
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
