//! Time comes in from outside: a [`Clock`] is handed to whoever needs one.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    str::FromStr,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A point in time: microseconds since 1970-01-01T00:00:00Z. Text and JSON are RFC 3339 UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(i64);

impl Time {
    /// Further away than any deadline.
    pub const NEVER: Self = Self(253_402_128_000_000_000); // 9999-12-30T00:00:00Z

    /// From microseconds since the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }
    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }
    /// Seconds since the epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }
    /// Whole days since the epoch, UTC.
    pub const fn day(self) -> i64 {
        self.0.div_euclid(86_400_000_000)
    }
    /// `self + by`, never beyond [`Time::NEVER`].
    pub fn after(self, by: Duration) -> Self {
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(by)).min(Self::NEVER)
    }
    /// `self - by`.
    pub fn before(self, by: Duration) -> Self {
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(by))
    }
    /// How long from `earlier` to `self`; zero if it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(stamp) => write!(f, "{stamp:.6}"),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Time {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<jiff::Timestamp>()
            .map(|stamp| Self(stamp.as_microsecond()))
            .map_err(|_| format!("{text:?} is not an RFC 3339 time such as 2026-11-21T09:30:00Z"))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// A future that ends when a clock says so.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where time comes from.
///
/// `now` may jump (an operator sets the clock); `elapsed` never goes back and is what
/// timeouts, breakers and leases measure with.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock.
    fn now(&self) -> Time;
    /// Monotonic time since this clock was made.
    fn elapsed(&self) -> Duration;
    /// Ends once `elapsed` has grown by `duration`. Safe to drop half-way.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// The machine's clock. `sleep` is tokio's, so a paused runtime pauses it too.
#[derive(Debug)]
pub struct SystemClock {
    start: tokio::time::Instant,
}

impl SystemClock {
    /// A clock that starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place where time enters")]
    pub fn new() -> Self {
        Self { start: tokio::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place where time enters")]
    fn now(&self) -> Time {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Time(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A wall clock that moves with tokio's time, and so stands still with a paused runtime,
/// but for a microsecond at each look: no two looks agree, as with a real one.
#[derive(Debug)]
pub struct PausedClock {
    base: Time,
    looks: AtomicU64,
    inner: SystemClock,
}

impl PausedClock {
    /// Stands at `base` now.
    pub fn at(base: Time) -> Self {
        Self { base, looks: AtomicU64::new(0), inner: SystemClock::new() }
    }
}

impl Clock for PausedClock {
    fn now(&self) -> Time {
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        self.base.after(self.inner.elapsed() + Duration::from_micros(looks))
    }
    fn elapsed(&self) -> Duration {
        self.inner.elapsed()
    }
    fn sleep(&self, duration: Duration) -> Sleep {
        self.inner.sleep(duration)
    }
}

/// A clock that moves only when told, for tests and the simulator.
#[derive(Debug)]
pub struct ManualClock {
    state: Mutex<ManualState>,
    moved: tokio::sync::watch::Sender<Duration>,
}

#[derive(Debug)]
struct ManualState {
    now: Time,
    elapsed: Duration,
}

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn at(now: Time) -> Self {
        let (moved, _) = tokio::sync::watch::channel(Duration::ZERO);
        Self { state: Mutex::new(ManualState { now, elapsed: Duration::ZERO }), moved }
    }
    /// Moves wall and monotonic time on.
    pub fn advance(&self, by: Duration) {
        let elapsed = {
            let mut state = self.lock();
            state.now = state.now.after(by);
            state.elapsed += by;
            state.elapsed
        };
        self.moved.send_replace(elapsed);
    }
    /// Sets the wall clock alone, as an operator would; it may go back.
    pub fn jump(&self, now: Time) {
        self.lock().now = now;
    }
    fn lock(&self) -> std::sync::MutexGuard<'_, ManualState> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Time {
        self.lock().now
    }
    fn elapsed(&self) -> Duration {
        self.lock().elapsed
    }
    fn sleep(&self, duration: Duration) -> Sleep {
        let until = self.elapsed() + duration;
        let mut moved = self.moved.subscribe();
        Box::pin(async move {
            // An error means that the clock is gone, and with it whoever waited.
            let _ = moved.wait_for(|elapsed| *elapsed >= until).await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_reads_and_writes_rfc_3339() {
        let time: Time = "2026-11-21T09:30:00.25Z".parse().expect("a time");
        assert_eq!(time.to_string(), "2026-11-21T09:30:00.250000Z");
        assert_eq!(Time::NEVER.to_string().parse(), Ok(Time::NEVER));
        assert!("yesterday".parse::<Time>().is_err());
        assert_eq!(Time::NEVER.after(Duration::from_secs(1)), Time::NEVER);
    }

    #[tokio::test]
    async fn a_manual_sleep_ends_when_the_clock_is_moved_and_not_when_it_jumps() {
        let clock = ManualClock::at(Time::from_micros(0));
        let sleep = clock.sleep(Duration::from_secs(5));
        tokio::pin!(sleep);
        clock.jump(Time::NEVER);
        assert!(futures_poll(&mut sleep).await.is_none());
        clock.advance(Duration::from_secs(5));
        sleep.await;
    }

    async fn futures_poll(sleep: &mut Pin<&mut Sleep>) -> Option<()> {
        tokio::select! { biased; () = sleep => Some(()), () = std::future::ready(()) => None }
    }
}
